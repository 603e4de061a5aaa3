import pytest

from packer.session import KaggleError, Session
from tests.kaggle_server import OWNER, CutError, KaggleServer, RefusalError

STATUS = "datasets.DatasetApiService/GetDatasetStatus"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # no login of the person's own
    with KaggleServer() as server, server.login(monkeypatch):
        server.handlers[STATUS] = lambda call: {"status": "READY"}
        yield server


def status(session, **settings):
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = "ada", "x"
    call = session.client.datasets.dataset_api_client.get_dataset_status
    return session.call("status of ada/x", lambda: call(request), **settings)


def test_the_owner_is_the_tokens(server):
    session = Session()
    assert session.owner == OWNER
    assert status(session).status.name == "READY"
    assert server.requests[-1].body == {"ownerSlug": "ada", "datasetSlug": "x"}


def test_no_login_is_an_error_that_says_where_to_make_one(monkeypatch, server):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(KaggleError, match=r"no login at Kaggle.*kaggle\.com/settings"):
        Session()


def test_an_expired_token_is_no_login(server):
    server.token_is_active = False
    with pytest.raises(KaggleError, match="no login at Kaggle, or an expired one"):
        Session()


def test_a_login_refused_later_says_so(server):
    session = Session()
    server.token_is_active = False
    with pytest.raises(KaggleError, match=r"status of ada/x: Kaggle refuses the login") as error:
        status(session)
    assert error.value.status == 401


@pytest.mark.parametrize(
    "fault", [RefusalError(429, "slow down", {"Retry-After": "0"}), RefusalError(503), RefusalError(500), CutError()]
)
def test_a_busy_server_is_asked_again(server, fault):
    server.faults[STATUS] = [fault, fault]
    session = Session(pause=0.01)
    assert status(session).status.name == "READY"
    assert server.methods().count(STATUS) == 3


def test_patience_ends(server):
    server.faults[STATUS] = [RefusalError(503)] * 100
    session = Session(patience=0.2, pause=0.05)
    with pytest.raises(KaggleError, match="answers 503"):
        status(session)
    assert server.methods().count(STATUS) < 10


@pytest.mark.parametrize("fault", [RefusalError(500), CutError()])
def test_what_makes_something_is_not_sent_twice_when_the_answer_is_lost(server, fault):
    server.faults[STATUS] = [fault]
    with pytest.raises(KaggleError):
        status(Session(pause=0.01), repeatable=False)
    assert server.methods().count(STATUS) == 1


def test_what_was_refused_is_said(server):
    server.faults[STATUS] = [RefusalError(403, "Permission 'datasets.get' was denied")]
    with pytest.raises(KaggleError, match=r"answers 403.*denied") as error:
        status(Session())
    assert error.value.status == 403
