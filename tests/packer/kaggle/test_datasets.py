import os
import shutil
from dataclasses import replace

import pytest

from cascade.base import manifest
from cascade.base.manifest import Entry, Manifest
from packer.datasets.rules import DatasetError, DatasetMetadata
from packer.kaggle.datasets import push
from packer.kaggle.session import KaggleError, Session
from tests.kaggle_server import CutError, RefusalError
from tests.kaggle_server.datasets import CREATE, DOWNLOAD, GET, PUT, START, STATUS, UPDATE
from tests.refusals import refused

ABOUT = DatasetMetadata("some-wheels", "Some wheels", "Wheels for a kernel that is offline", "other")
REF = "ada/some-wheels"
FILES = {"t4x2.lock": b"a==1\n", "wheels/a-1+cpu-py3-none-any.whl": b"a" * 1000, "wheels/deep/er/b.whl": b""}
WRITES = {START, PUT, CREATE, UPDATE}


@pytest.fixture
def session(server):
    return Session(pause=0.001)


@pytest.fixture
def folder(tmp_path):
    return stage(tmp_path / "some-wheels", FILES)


def stage(folder, files, kind="wheels", commit="c0ffee", dirty=False, **about):
    """As `make pack` leaves it: the manifest is written last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    listed = {name: Entry(len(content), manifest.sha256(folder / name)) for name, content in files.items()}
    (folder / manifest.FILE).write_text(Manifest(kind, commit, dirty, listed, about).as_json())
    return folder


def held(store):
    return store.held[REF].versions


def written(server):
    return [method for method in server.methods() if method in WRITES]


def test_an_unknown_dataset_is_made_private_with_its_folders(server, store, session, folder):
    pushed = push(session, folder, ABOUT)
    assert (pushed.ref, pushed.state, pushed.version) == (REF, "created", 1)
    assert store.held[REF].about == {
        "title": "Some wheels", "subtitle": "Wheels for a kernel that is offline", "licenseName": "other",
        "isPrivate": True,
    }  # fmt: skip
    text = (folder / manifest.FILE).read_bytes()
    assert held(store)[0].files == {**FILES, manifest.FILE: text}
    assert pushed.sent == sum(map(len, FILES.values())) + len(text)
    assert list(folder.parent.glob("some-wheels.*")) == []


@pytest.mark.parametrize("commit", ["c0ffee", "another"])
def test_the_same_files_are_not_uploaded_again_whatever_the_commit(server, store, session, folder, commit):
    push(session, folder, ABOUT)
    server.requests.clear()
    pushed = push(session, stage(folder, FILES, commit=commit), ABOUT)
    assert (pushed.state, pushed.version, pushed.sent) == ("unchanged", 1, 0)
    assert written(server) == [] and len(server.requests) < 6


@pytest.mark.parametrize(
    ("files", "about"),
    [({**FILES, "t4x2.lock": b"a==2\n"}, {}), (FILES, {"image": "t4x2"})],
    ids=["a file", "what the manifest tells"],
)
def test_what_differs_becomes_a_version_that_names_its_commit(store, session, folder, files, about):
    push(session, folder, ABOUT)
    pushed = push(session, stage(folder, files, commit="beef", dirty=True, **about), ABOUT)
    assert (pushed.state, pushed.version) == ("updated", 2)
    assert held(store)[1].notes == "beef and changes not committed"
    assert held(store)[1].files["t4x2.lock"] == files["t4x2.lock"]
    assert len(held(store)) == 2  # the former one stays


def test_a_version_in_processing_is_waited_for_before_anything_is_compared(server, store, session, folder):
    push(session, folder, ABOUT)
    store.put_version(REF, {**FILES, manifest.FILE: b"{}"}).polls = 5
    held(store)[1].files[manifest.FILE] = (folder / manifest.FILE).read_bytes()
    server.requests.clear()
    assert push(session, folder, ABOUT).state == "unchanged"
    assert server.methods().count(STATUS) == 6
    assert server.methods().index(DOWNLOAD) > 5


def test_a_version_refused_while_another_is_processed_is_made_afterwards(server, store, session, folder):
    push(session, folder, ABOUT)
    server.faults[UPDATE] = [RefusalError(403, "Permission 'datasets.update' was denied")]
    assert push(session, stage(folder, {}), ABOUT).state == "updated"
    assert server.methods().count(UPDATE) == 2


def test_a_version_refused_although_nothing_is_processed_is_an_error(server, store, session, folder):
    push(session, folder, ABOUT)
    server.faults[UPDATE] = [RefusalError(403, "Permission 'datasets.update' was denied")] * 2
    with pytest.raises(KaggleError, match=r"a new version of ada/some-wheels.*403.*denied"):
        push(session, stage(folder, {}), ABOUT)


def test_the_former_versions_readiness_is_not_taken_for_the_new_ones(server, store, session, folder):
    push(session, folder, ABOUT)
    server.handlers[STATUS] = lambda call: {**store.status(call), "status": "READY"}
    store.polls = 4
    assert push(session, stage(folder, {}), ABOUT).version == 2
    assert held(store)[1].polls == 0


def test_a_former_versions_failure_is_not_taken_for_the_new_ones(server, store, session, folder):
    store.fails = "no space left"
    with pytest.raises(DatasetError, match="could not process"):
        push(session, folder, ABOUT)
    store.fails, store.polls = "", 3
    late = ["FAILED"] * 3

    def status(call):
        told = store.status(call)
        return {"status": late.pop()} if late and written(server)[-1] == UPDATE else told

    server.handlers[STATUS] = status
    assert push(session, folder, ABOUT).version == 2
    assert late == []


def test_a_failure_that_stays_is_the_new_versions(store, session, folder):
    store.fails, store.polls = "no space left", 0
    for number in (1, 2, 3):
        with pytest.raises(DatasetError, match=r"could not process the files \(no space left\)"):
            push(session, folder, ABOUT)
        assert len(held(store)) == number


def cut_after(server, session, method, make):
    """The answer to `method` comes, and no other afterwards."""

    def handler(call):
        server.faults[STATUS] = [CutError()]
        return make(call)

    server.handlers[method] = handler
    session.patience = 0.0


def test_a_cut_before_the_new_version_is_ready_uploads_nothing_again(server, store, session, folder):
    push(session, folder, ABOUT)
    server.handlers[STATUS] = lambda call: {**store.status(call), "status": "READY"}
    store.polls = 6
    cut_after(server, session, UPDATE, store.update)
    stage(folder, {"a": b"a"})
    with pytest.raises(KaggleError, match="cannot be reached"):
        push(session, folder, ABOUT)
    session.patience = 5.0
    server.requests.clear()
    pushed = push(session, folder, ABOUT)
    assert (pushed.state, pushed.version, pushed.sent) == ("unchanged", 2, 0)
    assert written(server) == [] and len(held(store)) == 2
    assert list(folder.parent.glob("some-wheels.*")) == []


def test_what_kaggle_failed_on_after_a_cut_is_uploaded_again(server, store, session, folder):
    store.fails = "no space left"
    cut_after(server, session, CREATE, store.create)
    with pytest.raises(KaggleError, match="cannot be reached"):
        push(session, folder, ABOUT)
    store.fails, session.patience = "", 5.0
    pushed = push(session, folder, ABOUT)
    assert (pushed.state, pushed.version) == ("updated", 2)
    assert pushed.sent > sum(map(len, FILES.values()))


def test_a_dataset_deleted_after_a_cut_is_made_anew(server, store, session, folder):
    cut_after(server, session, CREATE, store.create)
    with pytest.raises(KaggleError, match="cannot be reached"):
        push(session, folder, ABOUT)
    session.patience = 5.0
    store.held.clear()
    assert push(session, folder, ABOUT).state == "created"


def test_a_version_that_is_absent_at_first_is_waited_for(server, store, session, folder):
    answers = iter([None, RefusalError(404)])

    def status(call):
        if (answer := next(answers, None)) and store.held:
            raise answer
        return store.status(call)

    server.handlers[STATUS] = status
    assert push(session, folder, ABOUT).state == "created"


def test_a_failed_version_is_an_error_with_kaggles_reason_and_pushed_anew(store, session, folder):
    store.fails = "no space left"
    with pytest.raises(DatasetError, match=r"ada/some-wheels: Kaggle could not process the files \(no space left\)"):
        push(session, folder, ABOUT)
    store.fails = ""
    assert push(session, folder, ABOUT).state == "updated"


def test_waiting_has_a_limit(store, session, folder):
    store.polls = 1000
    with pytest.raises(DatasetError, match=r"still processing it after 0 minutes \(BLOBS_RECEIVED\).*push again later"):
        push(session, folder, ABOUT, limit=0.05)


def test_a_version_that_kaggle_names_in_its_own_spelling_is_ours(server, store, session, folder):
    server.handlers[CREATE] = lambda call: store.create(call) | {"ref": "/datasets/Ada/Some-Wheels"}
    server.handlers[UPDATE] = lambda call: store.update(call) | {"ref": "Ada/some-wheels/versions/2"}
    push(session, folder, ABOUT)
    stage(folder, {"a": b""})
    assert push(session, folder, ABOUT).version == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"error": "The requested slug is already in use"},
            "already in use; correct what it names, or choose another slug",
        ),
        ({"status": "error"}, "an error without a reason"),
        ({"ref": REF, "invalidTags": ["gpu"]}, "tag 'gpu' is not valid"),
        ({"ref": "/datasets/ada/some-wheels-2"}, "Kaggle made ada/some-wheels-2 instead"),
    ],
)
@pytest.mark.parametrize("method", [CREATE, UPDATE])
def test_an_answer_that_is_no_success_is_an_error(server, store, session, folder, method, answer, said):
    if method == UPDATE:
        push(session, folder, ABOUT)
        stage(folder, {"a": b""})
    server.handlers[method] = lambda call: answer
    with pytest.raises(DatasetError, match=said):
        push(session, folder, ABOUT)


def test_what_was_uploaded_outlives_a_refusal(server, store, session, folder):
    store.put_version("ada/other", {}, title="Some wheels")
    with pytest.raises(DatasetError, match=r'title "Some wheels" is already in use'):
        push(session, folder, ABOUT)
    server.requests.clear()
    pushed = push(session, folder, replace(ABOUT, title="Another title"))
    assert (pushed.state, pushed.sent) == ("created", 0)
    assert START not in server.methods()


def test_an_upload_that_kaggle_no_longer_knows_names_the_mend(server, store, session, folder):
    server.faults[CREATE] = [RefusalError(400, "unknown token")]
    with pytest.raises(DatasetError, match=r"unknown token.*remove .*some-wheels\.upload\.jsonl"):
        push(session, folder, ABOUT)


def test_a_lost_answer_is_no_second_dataset(server, store, session, folder):
    def make(call):
        store.create(call)
        raise CutError

    server.handlers[CREATE] = make
    assert push(session, folder, ABOUT).state == "created"
    assert push(session, folder, ABOUT).state == "unchanged"
    assert server.methods().count(CREATE) == 1


LOST = [
    CutError(),
    {"ref": 1, "invalidTags": "none"},
    {"ref": None, "url": None, "status": None, "error": None, "invalidTags": None},
    {},
    {"ref": ["ada"]},
    [],
    "made",
]


@pytest.mark.parametrize("answer", LOST, ids=str)
@pytest.mark.parametrize("method", [CREATE, UPDATE])
def test_a_version_whose_answer_cannot_be_read_is_found_and_not_made_again(
    server, store, session, folder, method, answer
):
    if method == UPDATE:
        push(session, folder, ABOUT)
        stage(folder, {"a": b""})
    make = {CREATE: store.create, UPDATE: store.update}[method]

    def answering(call):
        make(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server.handlers[method] = answering
    number = 2 if method == UPDATE else 1
    assert push(session, folder, ABOUT).version == number
    assert push(session, folder, ABOUT).state == "unchanged"
    assert server.methods().count(method) == 1


@pytest.mark.parametrize("method", [CREATE, UPDATE])
def test_a_version_that_may_not_have_been_made_is_left_to_the_person(server, store, session, folder, method):
    if method == UPDATE:
        push(session, folder, ABOUT)
        stage(folder, {"a": b""})
    server.faults[method] = [CutError()]
    with pytest.raises(DatasetError, match=r"no new version of ada/some-wheels is listed; look at kaggle\.com/"):
        push(session, folder, ABOUT)
    assert server.methods().count(method) == 1
    assert push(session, folder, ABOUT).sent == 0


def test_a_dataset_of_which_kaggle_tells_nothing_is_no_version_nought(server, store, session, folder):
    push(session, folder, ABOUT)
    stage(folder, {"a": b""})
    server.handlers[GET] = lambda call: {}
    session.patience = 0.0
    with pytest.raises(KaggleError, match=r"dataset ada/some-wheels: .*AnswerError: it has no ref"):
        push(session, folder, ABOUT)
    assert UPDATE not in server.methods()


def test_a_login_that_may_not_make_it_is_told_so(store, session, folder):
    session.owner = "eve"
    with pytest.raises(DatasetError, match=r"making eve/some-wheels: .*not allowed to create a dataset as this owner"):
        push(session, folder, ABOUT)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"mine.csv": b"a"}, "has no manifest.json"),
        ({manifest.FILE: b'{"kind": 1}'}, "not a manifest of this project"),
        ({manifest.FILE: Manifest("code", "", False, {}).as_json().encode()}, "contains code, not wheels"),
    ],
)
def test_another_dataset_under_that_slug_is_left_alone(server, store, session, folder, files, why):
    store.put_version(REF, files)
    with pytest.raises(DatasetError, match=rf"ada/some-wheels: was not made by this project \(.*{why}.*another slug"):
        push(session, folder, ABOUT)
    assert written(server) == []


@pytest.mark.parametrize("ready", [True, False])
def test_another_dataset_whose_newest_version_failed_is_left_alone(server, store, session, folder, ready):
    if ready:
        store.put_version(REF, {"mine.csv": b"a"})
    store.put_version(REF, {"mine.csv": b"b"}).fails = "bad file"
    with pytest.raises(DatasetError, match=r"was not made by this project \(it has no manifest\.json"):
        push(session, folder, ABOUT)
    assert written(server) == []


def test_our_dataset_whose_newest_version_failed_elsewhere_gets_another(store, session, folder):
    push(session, folder, ABOUT)
    store.put_version(REF, {}).fails = "bad file"
    assert push(session, folder, ABOUT).state == "updated"
    assert len(held(store)) == 3


def test_nothing_staged_names_the_command_that_stages(server, session, folder):
    shutil.rmtree(folder)
    with refused(DatasetError, "nothing is staged here", mend="run: make pack"):
        push(session, folder, ABOUT)


@pytest.mark.parametrize("content", [b"a==22\n", b"a==2\n", None], ids=["size", "bytes", "gone"])
def test_a_staged_file_that_is_not_the_manifests_stops_the_push(server, session, folder, content):
    (folder / "t4x2.lock").unlink()
    if content is not None:
        (folder / "t4x2.lock").write_bytes(content)
        later = (folder / manifest.FILE).stat().st_mtime_ns + 10**9
        os.utime(folder / "t4x2.lock", ns=(later, later))
    with pytest.raises(DatasetError, match=r"does not match its manifest \(t4x2\.lock: .*run: make pack"):
        push(session, folder, ABOUT)
    assert written(server) == []
