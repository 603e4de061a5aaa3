import os
import threading

import pytest
import requests

from packer.kaggle import session as sessions
from packer.kaggle.login import LoginError
from packer.kaggle.session import KaggleError, Session
from tests.kaggle_server import OWNER, TOKEN, CutError, RefusalError

STATUS = "datasets.DatasetApiService/GetDatasetStatus"
LOGIN = "security.OAuthService/IntrospectToken"


@pytest.fixture
def server(server):
    server.handlers[STATUS] = lambda call: {"status": "READY"}
    return server


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


@pytest.mark.parametrize("added", ["\n", "\r\n", "\ufeff", " "])
def test_a_token_in_a_variable_is_read_without_what_a_shell_adds(monkeypatch, server, added):
    monkeypatch.setenv("KAGGLE_API_TOKEN", added + TOKEN + added)
    session = Session()
    assert session.owner == OWNER
    assert status(session).status.name == "READY"
    assert os.environ["KAGGLE_API_TOKEN"] == added + TOKEN + added


@pytest.fixture
def home(monkeypatch, tmp_path, server):
    """A home folder with an empty .kaggle, and no login elsewhere."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.delenv("KAGGLE_CONFIG_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir(exist_ok=True)
    return tmp_path / ".kaggle"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["access_token", "access_token.txt"])
def test_a_token_file_is_read_as_any_editor_writes_it(home, name, encoding):
    (home / name).write_bytes(f"{TOKEN}\r\n".encode(encoding))
    assert status(Session()).status.name == "READY"
    assert "KAGGLE_API_TOKEN" not in os.environ


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_key_file_is_read_as_any_editor_writes_it(home, encoding):
    (home / "kaggle.json").write_bytes('{"username": "ada", "key": "0123"}'.encode(encoding))
    assert Session().owner == "ada"


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("access_token", b"KGAT_secret two"),
        ("access_token", "KGAT_secret\u00e9".encode()),
        ("access_token", b"KGAT_secret\xff"),
        ("kaggle.json", b'{"username": "secret"'),
        ("kaggle.json", b'["secret"]'),
        ("kaggle.json", b'{"username": "secret", "key": 5}'),
    ],
)
def test_a_login_that_cannot_be_read_names_its_file_and_not_what_it_holds(home, name, held):
    (home / name).write_bytes(held)
    with pytest.raises(LoginError, match=rf"\.kaggle/{name}: .*kaggle\.com/settings/api") as error:
        Session()
    assert "secret" not in str(error.value)


def test_no_login_is_an_error_that_says_where_to_make_one(monkeypatch, server):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(KaggleError, match=r"not logged in at Kaggle.*kaggle\.com/settings"):
        Session()


def test_an_expired_token_is_no_login(server):
    server.token_is_active = False
    with pytest.raises(KaggleError, match="not logged in at Kaggle, or the login has expired"):
        Session()


def test_a_login_refused_later_says_so(server):
    session = Session()
    server.token_is_active = False
    with pytest.raises(KaggleError, match=r"status of ada/x: Kaggle rejects the login") as error:
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


@pytest.mark.parametrize("fault", [RefusalError(500), RefusalError(503), CutError()])
def test_what_makes_something_is_not_sent_twice_when_the_answer_is_lost(server, fault):
    server.faults[STATUS] = [fault]
    with pytest.raises(KaggleError, match="check whether it was done, then try again"):
        status(Session(pause=0.01), repeatable=False)
    assert server.methods().count(STATUS) == 1


def test_what_makes_something_is_sent_again_where_nothing_can_have_been_made(server):
    server.faults[STATUS] = [RefusalError(429, "slow down")]
    assert status(Session(pause=0.01), repeatable=False).status.name == "READY"
    assert server.methods().count(STATUS) == 2
    refused = requests.Session()
    refused.trust_env = False
    answers = iter([lambda: refused.get("http://127.0.0.1:1/"), lambda: "made"])
    assert Session(pause=0.01).call("a push", lambda: next(answers)(), repeatable=False) == "made"


@pytest.fixture
def silence(server, monkeypatch):
    """A server that answers nothing until the test is over, on the first call."""
    over, calls = threading.Event(), []
    monkeypatch.setattr(sessions, "TIMEOUT", (5.0, 0.2))

    def answer(call):
        calls.append(call)
        if len(calls) == 1:
            over.wait(30)
        return {"status": "READY"}

    server.handlers[STATUS] = answer
    yield calls
    over.set()


def test_a_silent_server_is_asked_again(silence):
    assert status(Session(pause=0.01)).status.name == "READY"
    assert len(silence) == 2


def test_what_makes_something_is_not_sent_again_to_a_silent_server(silence):
    with pytest.raises(KaggleError, match=r"ReadTimeout.*check whether it was done") as error:
        status(Session(pause=0.01), repeatable=False)
    assert error.value.status is None
    assert len(silence) == 1


PORTAL = b"<html>Accept the terms of this hotel</html>"


@pytest.mark.parametrize("answer", [PORTAL, {"status": "NEW"}])
def test_an_answer_that_is_not_kaggles_is_asked_for_again(server, answer):
    answers = [answer, {"status": "READY"}, answer]
    server.handlers[STATUS] = lambda call: answers.pop(0)
    session = Session(pause=0.01)
    assert status(session).status.name == "READY"
    with pytest.raises(KaggleError, match=r"status of ada/x: Kaggle's answer is unusable.*check whether") as error:
        status(session, repeatable=False)
    assert error.value.status is None
    assert answers == []


@pytest.mark.parametrize("answer", [PORTAL, RefusalError(503)])
def test_a_login_that_a_network_answers_in_kaggles_place_is_an_error(server, answer):
    server.handlers[LOGIN] = lambda call: answer
    if isinstance(answer, Exception):
        server.faults[LOGIN] = [answer] * 9
    with pytest.raises(KaggleError, match="login"):
        Session()


def test_no_error_tells_an_addresss_query(server):
    plain = requests.Session()
    plain.trust_env = False
    session = Session(patience=0.0)
    for address, said in (("http://127.0.0.1:1", "cannot be reached"), (server.address, "answers 404")):
        with pytest.raises(KaggleError, match=said) as error:
            session.call("a file", lambda a=address: plain.get(f"{a}/blobs?upload_id=secret&x=y").raise_for_status())
        assert "/blobs" in str(error.value)
        assert "secret" not in str(error.value)


def test_who_calls_may_end_the_trying(server):
    server.faults[STATUS] = [RefusalError(503)] * 3

    def stop(seconds):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        status(Session(pause=600.0, patience=6000.0), sleep=stop)
    assert server.methods().count(STATUS) == 1


def test_what_was_refused_is_said(server):
    server.faults[STATUS] = [RefusalError(403, "Permission 'datasets.get' was denied")]
    with pytest.raises(KaggleError, match=r"answers 403.*denied") as error:
        status(Session())
    assert error.value.status == 403
