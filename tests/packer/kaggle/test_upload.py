import random
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from cascade.base.manifest import Entry, sha256
from cascade.base.runtime import ROOT
from packer.kaggle import upload as uploads
from packer.kaggle.session import KaggleError, Session
from packer.kaggle.upload import State, UploadError, upload
from tests.kaggle_server import CutError, RefusalError
from tests.kaggle_server.datasets import GRANULE, PUT, START

CHUNK = 1 << 20
SIZES = {"empty.txt": 0, "small.txt": 1, "wheels/a-1+cpu.whl": 700_001, "b.bin": 5 * CHUNK, "wheels/c.bin": 12_345_678}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK", CHUNK)


@pytest.fixture
def session(server):
    return Session(pause=0.01)


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "some-data", SIZES)


def make(folder, sizes):
    for number, (name, size) in enumerate(sizes.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(size))
    return folder


def entries(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): Entry(path.stat().st_size, sha256(path)) for path in paths}


def send(session, folder):
    """One run, which knows of the former ones what is on disk."""
    return upload(session, folder, entries(folder), State(state_path(folder)))


def state_path(folder):
    return folder.with_name("some-data.upload.jsonl")


def check_complete(store, folder, sent):
    """Every file is there under its token, and nothing that was confirmed came twice."""
    for name in entries(folder):
        blob = store.blobs[sent.tokens[name]]
        assert blob.complete and blob.name == name.rpartition("/")[2]
        assert bytes(blob.kept) == (folder / name).read_bytes()
    assert [blob.name for blob in store.blobs.values() if blob.again] == []


def test_every_file_arrives_once_and_keeps_its_name(store, session, folder):
    sent = send(session, folder)
    check_complete(store, folder, sent)
    assert sent.size == sum(SIZES.values()) == sum(blob.received for blob in store.blobs.values())
    assert list(sent.tokens) == sorted(SIZES)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("patience", [300, 0], ids=["one run", "a run for each cut"])
def test_an_upload_cut_twenty_times_ends_complete_and_sends_nothing_confirmed_again(
    store, session, folder, patience, seed
):
    drawn = random.Random(seed)
    store.cuts = [drawn.randrange(CHUNK + CHUNK // 4) for _ in range(20)]  # the longest lose the answer alone
    session.patience = patience
    runs = 0
    while True:
        runs += 1
        try:
            sent = send(session, folder)
            break
        except KaggleError as error:
            assert "cannot be reached" in str(error)
    assert not store.cuts
    assert runs > 3 if patience == 0 else runs == 1
    check_complete(store, folder, sent)
    assert len(store.blobs) == len(SIZES)
    assert sum(blob.received for blob in store.blobs.values()) - sum(SIZES.values()) < 20 * GRANULE


def test_a_killed_process_is_taken_up_by_the_next_one(server, store, session, tmp_path):
    folder = make(tmp_path / "some-data", {"a.bin": 3 * CHUNK, "b.bin": 12 * CHUNK})
    store.pause = 0.01
    code = (
        "from pathlib import Path; from packer.kaggle import upload; from packer.kaggle.session import Session\n"
        "from tests.packer.kaggle.test_upload import send\n"
        f"upload.CHUNK = {CHUNK}; send(Session(), Path({str(folder)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        until = time.monotonic() + 60
        while not any(blob.size > len(blob.kept) > 2 * CHUNK for blob in store.blobs.values()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        process.kill()
    store.pause = 0
    begun = sum(blob.received for blob in store.blobs.values())
    sent = send(session, folder)
    check_complete(store, folder, sent)
    assert len(store.blobs) == 2
    assert sent.size < 15 * CHUNK - begun + 3 * CHUNK  # of each file at most the chunk that was under way


@pytest.mark.parametrize(
    "fault", [RefusalError(429, "slow down", {"Retry-After": "0"}), RefusalError(503), RefusalError(500), CutError()]
)
@pytest.mark.parametrize("method", [START, PUT])
def test_a_busy_store_is_asked_again(server, store, session, folder, method, fault):
    server.faults[method] = [fault] * 3
    check_complete(store, folder, send(session, folder))


def test_what_is_complete_is_not_sent_in_the_next_run(server, store, session, folder):
    first = send(session, folder)
    server.requests.clear()
    second = send(session, folder)
    assert second.tokens == first.tokens and second.size == 0
    assert server.methods() == []


def test_a_forgotten_upload_starts_again_alone(server, store, session, folder):
    store.cuts, session.patience = [CHUNK // 2] * 4, 0
    with pytest.raises(KaggleError):
        send(session, folder)
    lost = next(blob for blob in store.blobs.values() if not blob.complete)
    before = {token: blob.received for token, blob in store.blobs.items()}
    store.cuts, session.patience, store.lost = [], 300, {lost.token}
    sent = send(session, folder)
    check_complete(store, folder, sent)
    assert lost.token not in sent.tokens.values() and lost.received == before[lost.token]
    assert [blob.name for blob in store.blobs.values()].count(lost.name) == 2
    assert len(store.blobs) == len(SIZES) + 1


def test_an_upload_older_than_the_store_remembers_starts_again(store, session, folder):
    sent = send(session, folder)
    state = State(state_path(folder))
    state.put(replace(state.records["b.bin"], started=time.time() - uploads.VALID - 1))
    again = send(session, folder)
    assert {name for name in SIZES if again.tokens[name] != sent.tokens[name]} == {"b.bin"}
    assert again.size == SIZES["b.bin"]


def test_a_store_that_forgets_every_upload_is_an_error(server, store, session, folder):
    server.faults[PUT] = [RefusalError(404)] * 100
    with pytest.raises(KaggleError, match="loses it each time"):
        send(session, folder)


def test_a_store_that_keeps_nothing_ends_the_patience(store, session, folder):
    store.keeps, session.patience = False, 0.1
    with pytest.raises(KaggleError, match="the store kept nothing"):
        send(session, folder)


def test_a_refused_upload_is_an_error_that_hides_its_address(server, store, session, folder):
    server.faults[PUT] = [RefusalError(403, "not yours")]
    with pytest.raises(KaggleError, match=r"upload of .*: Kaggle answers 403.*not yours") as error:
        send(session, folder)
    assert "/blobs/" not in str(error.value)


def test_a_refused_upload_stops_the_others(server, store, session, tmp_path):
    folder = make(tmp_path / "some-data", {f"{number}.bin": 8 * CHUNK for number in range(uploads.WORKERS)})
    store.pause = 0.005
    server.faults[PUT] = [RefusalError(403, "not yours")]
    with pytest.raises(KaggleError, match="not yours"):
        send(session, folder)
    assert not any(blob.complete for blob in store.blobs.values())


def test_a_refused_upload_does_not_wait_for_one_that_waits(server, store, session, folder):
    server.faults[PUT] = [RefusalError(503, "busy", {"Retry-After": "100"}), RefusalError(403, "not yours")]
    said = []

    def run():
        with pytest.raises(KaggleError, match="not yours"):
            send(session, folder)
        said.append("ended")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert said == ["ended"]


def test_a_changed_file_is_never_completed(store, session, folder):
    files = entries(folder)
    with (folder / "b.bin").open("r+b") as file:
        file.write(b"other")
    with pytest.raises(UploadError, match=r"b\.bin: has changed since its manifest was made.*make pack"):
        upload(session, folder, files, State(state_path(folder)))
    assert not any(blob.complete for blob in store.blobs.values() if blob.name == "b.bin")


def test_a_file_changed_between_two_runs_is_never_completed(store, session, tmp_path):
    folder = make(tmp_path / "some-data", {"b.bin": 5 * CHUNK})
    files = entries(folder)
    store.cuts, session.patience = [2 * CHUNK, 2 * CHUNK, 100], 0
    for _ in store.cuts:
        with pytest.raises(KaggleError):
            upload(session, folder, files, State(state_path(folder)))
    [blob] = store.blobs.values()
    assert len(blob.kept) >= CHUNK
    with (folder / "b.bin").open("r+b") as file:
        file.write(b"other")  # in what was confirmed
    store.cuts = []
    with pytest.raises(UploadError, match="has changed"):
        upload(session, folder, files, State(state_path(folder)))
    assert not blob.complete


def test_a_file_of_another_size_is_not_even_begun(server, store, session, folder):
    files = entries(folder)
    (folder / "small.txt").write_bytes(b"12")
    with pytest.raises(UploadError, match=r"small\.txt: has changed"):
        upload(session, folder, {"small.txt": files["small.txt"]}, State(state_path(folder)))
    assert server.methods()[1:] == []  # the first is the login


def test_a_state_that_cannot_be_read_names_the_mend(store, session, folder):
    state_path(folder).write_text("{")
    with pytest.raises(UploadError, match=r"upload\.jsonl: cannot be read.*remove it"):
        send(session, folder)


def test_a_state_that_cannot_be_written_leaves_no_part(store, session, folder, tmp_path):
    state = State(tmp_path / "there")
    state.path.mkdir()  # no file can take its place
    with pytest.raises(UploadError, match=r"there: cannot be written"):
        upload(session, folder, entries(folder), state)
    assert not list(tmp_path.glob(".there*"))


def test_nobody_else_may_read_where_to_write(store, session, folder):
    send(session, folder)
    assert state_path(folder).stat().st_mode & 0o077 == 0
