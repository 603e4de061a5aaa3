import itertools
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cascade.base.command_line import run_command_line
from cascade.base.printable import printable
from packer.__main__ import app
from packer.kaggle import output, runs, state
from packer.kaggle.runs import Run, RunError
from packer.kaggle.session import KaggleError, Session
from packer.kaggle.state import Pushed, StateError
from tests.kaggle_server import CutError, KaggleServer, RefusalError
from tests.kaggle_server.kernels import DOWNLOAD, OUTPUT, STATUS, Kernels, Version, entries
from tests.refusals import refused
from tests.toy import project

FIRST, SECOND = Run("ada", "eedi-cascade", 1), Run("ada", "eedi-cascade", 2)
LOG = entries(
    ("stdout", 0.5, "submission ze"),
    ("stdout", 0.6, "ro\nstage r1\n"),
    ("stderr", 12.25, "load:  10%\rload: 100%\n"),
    ("stdout", 13.0, "the end, without a line's"),
)


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """Kaggle with two versions of a kernel, the second of which left seven files."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with KaggleServer() as server, server.login(monkeypatch):
        kernels = server.kernels = Kernels(server)
        names = ["ledger.jsonl", "submission.csv", "notebooks/p1.ipynb", "notebooks/p2.ipynb", "a b.png", "empty", "z"]
        kernels.files = {name: bytes([number]) * 200_000 for number, name in enumerate(names)} | {"empty": b""}
        kernels.kept["ada/eedi-cascade"] = [
            Version(states=["ERROR"], failure="Your notebook was stopped"),
            Version(pages=[names[:3], names[3:6], names[6:]], log=LOG),
        ]
        kernels.files["a%20b.png"] = kernels.files["a b.png"]  # as it is asked for
        yield server


def session(**settings):
    return Session(**({"patience": 5.0, "pause": 0.01} | settings))


def test_a_version_is_asked_for_by_its_label(kaggle):
    assert str(runs.status(session(), FIRST)) == "ERROR: Your notebook was stopped"
    assert runs.status(session(), SECOND).name == "COMPLETE"
    with refused(RunError, "no such version", key="version 3 of ada/eedi-cascade", mend="correct VERSION"):
        runs.status(session(), Run("ada", "eedi-cascade", 3))


@pytest.mark.parametrize("end", ["COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED"])
def test_a_run_is_waited_for_through_faults_to_each_end(kaggle, end):
    version = kaggle.kernels.kept["ada/eedi-cascade"][1]
    version.states = ["QUEUED", "QUEUED", "RUNNING", "CANCEL_REQUESTED", end]
    # More than the session's own patience bears: a night without a network.
    kaggle.faults[STATUS] = [CutError()] * 3 + [RefusalError(500)] * 3
    said, slept = [], []
    seen = runs.wait(session(patience=0.0), SECOND, said.append, sleep=slept.append)
    assert seen.name == end
    assert seen.failed == (end != "COMPLETE")
    assert [text for text in said if "still trying" not in text] == ["QUEUED", "RUNNING", "CANCEL_REQUESTED", end]
    assert len(said) == 4 + 6
    assert slept == sorted(slept)
    assert slept[0] < slept[-1] == runs.LONGEST_PAUSE


def test_a_login_that_expires_ends_the_waiting(kaggle):
    kaggle.kernels.kept["ada/eedi-cascade"][1].states = ["RUNNING"]
    going = session()
    with pytest.raises(KaggleError, match="rejects the login"):
        runs.wait(going, SECOND, print, sleep=lambda _: setattr(kaggle, "token_is_active", False))


def test_a_log_is_read_by_lines_and_a_progress_bar_by_its_last_state(kaggle):
    expected = [
        "      0.5   submission zero",
        "      0.6   stage r1",
        "     12.2 ! load: 100%",
        "     13.0   the end, without a line's",
    ]
    assert runs.tail(session(), SECOND) == expected
    assert runs.tail(session(), SECOND, 1) == expected[-1:]
    assert list(runs.readable(LOG.replace("\n,", ","))) == expected  # a list in one line
    assert list(runs.readable(LOG.replace("\n,", "\n").strip("[]"))) == expected  # JSON lines
    assert list(runs.readable("Traceback:\n[oops")) == ["Traceback:", "[oops"]


def test_a_log_with_entries_that_lack_something_is_read_all_the_same():
    raw = entries(
        ("stdout", 1.0, "one\n"), ("stdout", None, "two\n"), (None, "3", "three\n"), ("stderr", {}, "four\n"),
        ("stdout", "late", None), ("stdout", 5.0, ["five"]),
    )  # fmt: skip
    assert list(runs.readable(raw)) == [
        "      1.0   one", "      1.0   two", "      3.0   three", "      3.0 ! four", '      5.0   ["five"]',
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [{"status": None}, {"status": 0}, {"status": "queued"}, {}])
def test_a_status_that_is_null_or_a_number_is_kaggles_first(kaggle, answer):
    kaggle.handlers[STATUS] = lambda call: answer
    assert runs.status(session(), SECOND).name == "QUEUED"


@pytest.mark.parametrize("answer", [{"status": 99}, {"status": []}, [], None, {"status": True}])
def test_a_status_that_is_none_is_one_error(kaggle, answer):
    kaggle.handlers[STATUS] = lambda call: json.dumps(answer).encode()
    with pytest.raises(KaggleError, match="status of version 2 of ada/eedi-cascade: Kaggle's answer is unusable"):
        runs.status(session(patience=0.0), SECOND)


def test_output_without_a_list_or_a_log_is_empty(kaggle):
    kaggle.handlers[OUTPUT] = lambda call: {"files": None, "log": None, "nextPageToken": None}
    assert list(output.names(session(), SECOND)) == []
    assert runs.log(session(), SECOND) == ""


EVIL = "\x1b]52;c;cm0gLXJm\x07 \x1b[2J\x9d0;title\x9c \u202egnp \x1b[31mred\x1b[0m\r"


def test_what_a_terminal_would_obey_is_shown_and_saved_as_it_is(kaggle, tmp_path):
    state.remember("state", Pushed("ada", "eedi-cascade", 1, "", "eedi", "", "", "", False, ""))
    version = kaggle.kernels.kept["ada/eedi-cascade"][0]
    version.failure, version.log = EVIL, entries(("stdout", 1.0, f"{EVIL}\rx {EVIL}\n"))
    version.pages = [["\x1b]0;x"], ["../\x1b]0;x"]]
    said = [CliRunner().invoke(app, [word]).stdout for word in ("status", "logs")]
    for text in said:
        assert r"\x1b]52;c;cm0gLXJm\x07 \x1b[2J\x9d0;title\x9c \u202egnp red" in text
        assert not set(text) & set("\x1b\x07\x9c\x9d\r\u202e")
    kaggle.kernels.files["%1B%5D0;x"] = b""
    with pytest.raises(RunError) as error:
        output.fetch(session(), FIRST, tmp_path / "out", lambda *_: None)
    assert printable(str(error.value)).count(r"'../\x1b]0;x'") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"\x1b]0;x", output.OF}


def test_an_error_with_what_a_terminal_would_obey_is_shown_harmless(capfd):
    def refused():
        raise RunError(EVIL)

    with pytest.raises(SystemExit):
        run_command_line(refused)
    assert r"\x1b]52;c;cm0gLXJm\x07" in capfd.readouterr().err


def test_words_are_left_as_they_are():
    text = "Prüfung\t½ 問 \U0001f469\u200d\U0001f52c\n"
    assert printable(text) == text
    assert printable("\ud800\u2028") == r"\ud800\u2028"


def test_no_log_yet_is_said(kaggle):
    with refused(RunError, "has no log yet", key="version 1 of ada/eedi-cascade", mend="make status"):
        runs.tail(session(), FIRST)


def fetched(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def begun(folder):
    """A folder in which a fetch of version 2 was ended."""
    folder.mkdir()
    (folder / output.OF).write_text(f"{SECOND}\n")


@pytest.mark.parametrize("own", ["ledger.jsonl", "eedi-cascade.log", "notes.txt"])
def test_a_folder_with_files_of_a_person_s_is_refused(kaggle, tmp_path, own):
    """Else a file there would pass for the run's, or be overwritten by its log."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / own).write_text("mine")
    with pytest.raises(
        RunError, match=rf"out: contains {own}, which may not be of version 2.*pass --out with a new or"
    ):
        output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert fetched(tmp_path / "out") == {own: b"mine"}


def test_a_folder_has_the_output_of_one_version(kaggle, tmp_path):
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    (tmp_path / "out/notes.txt").write_text("mine")
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    before = fetched(tmp_path / "out")
    with pytest.raises(RunError, match="contains the output of version 2 of ada/eedi-cascade, not of version 1"):
        output.fetch(session(), FIRST, tmp_path / "out", lambda *_: None)
    assert fetched(tmp_path / "out") == before


def test_output_comes_whole_from_all_pages_through_cuts(kaggle, tmp_path):
    kaggle.kernels.cuts = [70_000, 65_000]
    kaggle.faults[OUTPUT] = [CutError()]
    kaggle.faults[DOWNLOAD] = [RefusalError(503)]
    said = []
    came = output.fetch(session(), SECOND, tmp_path / "out", lambda *seen: said.append(seen))
    expected = {name: body for name, body in kaggle.kernels.files.items() if "%" not in name}
    found = fetched(tmp_path / "out")
    assert found.pop(output.OF).decode() == "version 2 of ada/eedi-cascade\n"
    assert found.pop("eedi-cascade.log").decode().splitlines() == runs.tail(session(), SECOND)
    assert found == expected
    assert len(came) == 7
    asked = [call.headers["Range"] for call in kaggle.requests if call.method == DOWNLOAD and "Range" in call.headers]
    assert asked == [f"bytes={4 * output.CHUNK}-", f"bytes={7 * output.CHUNK}-"]  # whole chunks of what came
    assert said[-1] == ("z", 200_000, 200_000)


def test_only_what_is_missing_is_fetched_again(kaggle, tmp_path):
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    (tmp_path / "out/notebooks/p1.ipynb").unlink()
    before = kaggle.methods().count(DOWNLOAD)
    came = output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert [path.name for path in came] == ["p1.ipynb"]
    assert kaggle.methods().count(DOWNLOAD) == before + 1


def test_a_fetch_that_was_ended_goes_on_where_it_was(kaggle, tmp_path):
    kaggle.kernels.cuts = [70_000]
    with pytest.raises(KaggleError, match=r"ledger\.jsonl of version 2.*cannot be reached"):
        output.fetch(session(patience=0.0), SECOND, tmp_path / "out", lambda *_: None)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ledger.jsonl.part", output.OF}
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert fetched(tmp_path / "out")["ledger.jsonl"] == kaggle.kernels.files["ledger.jsonl"]


@pytest.mark.parametrize(("ranges", "part"), [(False, 70_000), (True, 200_000), (True, 300_000)])
def test_a_part_that_cannot_be_gone_on_with_is_fetched_from_its_beginning(kaggle, tmp_path, ranges, part):
    kaggle.kernels.ranges = ranges
    begun(tmp_path / "out")
    (tmp_path / "out/ledger.jsonl.part").write_bytes(b"?" * part)
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert fetched(tmp_path / "out")["ledger.jsonl"] == kaggle.kernels.files["ledger.jsonl"]


def test_a_download_without_its_length_is_whole_only_where_nothing_comes_after_it(kaggle, tmp_path):
    kaggle.kernels.lengths, kaggle.kernels.cuts = False, [70_000, 65_000]
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert fetched(tmp_path / "out")["ledger.jsonl"] == kaggle.kernels.files["ledger.jsonl"]


def test_a_download_of_which_neither_length_nor_end_can_be_told_is_an_error(kaggle, tmp_path):
    kaggle.kernels.lengths = kaggle.kernels.ranges = False
    with pytest.raises(KaggleError, match=r"ledger\.jsonl of version 2.*arrived without its length"):
        output.fetch(session(patience=0.0), SECOND, tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out/ledger.jsonl").exists()


def test_ranges_shorter_than_asked_for_are_gone_on_with(kaggle, tmp_path):
    kaggle.kernels.cuts, kaggle.kernels.longest = [70_000], 40_000
    output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert fetched(tmp_path / "out")["ledger.jsonl"] == kaggle.kernels.files["ledger.jsonl"]


@pytest.mark.parametrize("tokens", [["1"], ["1", "2", "1"]])
def test_a_list_of_output_without_an_end_is_an_error(kaggle, tmp_path, tokens):
    following = itertools.cycle(tokens)
    kaggle.handlers[OUTPUT] = lambda call: {"files": [], "nextPageToken": next(following)}
    with pytest.raises(RunError, match=r"version 2 of ada/eedi-cascade: Kaggle's list of its output does not end"):
        output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)


def test_a_list_of_output_that_ever_goes_on_is_an_error_after_so_many_pages(kaggle, tmp_path, monkeypatch):
    monkeypatch.setattr(output, "PAGES", 3)
    following = iter("123456789")
    kaggle.handlers[OUTPUT] = lambda call: {"files": [], "nextPageToken": next(following, "")}
    with pytest.raises(RunError, match="does not end after 3 pages"):
        output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert next(following) == "4"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", ""])
def test_a_file_name_that_leads_elsewhere_is_refused(kaggle, tmp_path, name):
    kaggle.kernels.kept["ada/eedi-cascade"][1].pages[1].insert(0, name)
    with pytest.raises(RunError, match="leads outside"):
        output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "x").exists()


def test_a_run_that_goes_on_has_no_output_yet(kaggle, tmp_path):
    kaggle.kernels.kept["ada/eedi-cascade"][1].states = ["RUNNING"]
    with pytest.raises(RunError, match="is RUNNING, and its output exists only once it has ended"):
        output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)


def test_a_full_disk_is_an_error_that_names_the_version(kaggle, tmp_path):
    begun(tmp_path / "out")
    (tmp_path / "out/ledger.jsonl.part").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"version 2 of ada/eedi-cascade.*No space left on device.*free some space"):
        output.fetch(session(), SECOND, tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out/ledger.jsonl").exists()


def test_the_outputs_of_two_kernels_never_meet(kaggle):
    kaggle.kernels.kept["ada/other"] = [Version(), Version(pages=[["z"]], log=LOG)]
    for slug, count in (("eedi-cascade", 7), ("other", 1)):
        state.remember("state", Pushed("ada", slug, 2, "", "eedi", "", "", "", False, ""))
        assert f": {count} files fetched, {count + 1} are there" in CliRunner().invoke(app, ["output"]).stdout


def test_the_commands_tell_of_the_version_pushed_last(kaggle):
    said = CliRunner().invoke(app, ["status"], standalone_mode=False)
    assert isinstance(said.exception, StateError)
    state.remember("state", Pushed("ada", "eedi-cascade", 2, "", "eedi", "", "", "", False, ""))
    said = CliRunner().invoke(app, ["output"])
    assert said.stdout.endswith("build/output/ada-eedi-cascade/2: 7 files fetched, 8 are there\n")
    assert len(fetched(Path("build/output/ada-eedi-cascade/2"))) == 8 + 1
    version = kaggle.kernels.kept["ada/eedi-cascade"][1]
    version.states, version.failure = ["ERROR"], "out of memory"
    said = CliRunner().invoke(app, ["status", "--wait"])
    assert said.exit_code == 1
    first, *rest = said.stdout.splitlines()
    assert first == "version 2 of ada/eedi-cascade: ERROR: out of memory"
    assert rest == [*runs.tail(session(), SECOND), "why: out of memory"]
    assert CliRunner().invoke(app, ["logs", "--tail", "1"]).stdout.splitlines() == rest[-2:-1]
    assert "version 1 of ada/eedi-cascade: ERROR" in CliRunner().invoke(app, ["status", "1"]).stdout


def test_a_stale_image_is_noticed_when_the_output_comes(kaggle, tmp_path):
    """By the image.json of its commit run; that of another competition is refused, its output is here all the same."""
    wheels = project(tmp_path).path.parent
    facts = wheels / "small.toml"
    (wheels / "small.lock").write_text("")
    state.remember("state", Pushed("ada", "eedi-cascade", 2, "", "eedi", "", "small", "", False, ""))
    left = {"image": "small", "competition": "eedi", "at": "2026-12-01", "python": "3.13.5", "abi": "cp313"}
    seen = left | {"machine": "x86_64", "glibc": "2.35"}
    kaggle.kernels.files["image.json"] = json.dumps(seen).encode()
    kaggle.kernels.kept["ada/eedi-cascade"][1].pages.append(["image.json"])
    path = Path("build/output/ada-eedi-cascade/2/image.json")
    assert CliRunner().invoke(app, ["output"]).stdout.splitlines()[-4:] == [
        "wheels/small.toml: python was 3.12.13, and is 3.13.5",
        "wheels/small.toml: abi was cp312, and is cp313",
        "wheels/small: broken: built for cp312 on x86_64, and it is cp313 on x86_64",
        f"to update the facts: python -m packer image --from {path}",
    ]
    assert 'python = "3.12.13"' in facts.read_text()
    path.write_text(json.dumps(seen | {"competition": "map"}))
    last = CliRunner().invoke(app, ["output"]).stdout.splitlines()[-1]
    assert last.startswith("its machine is not compared: ") and "is of a run for map, not for eedi" in last


def test_what_was_pushed_last_is_known_and_a_broken_file_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateError, match="no kernel was pushed from here yet"):
        state.last_pushed()
    pushed = Pushed("ada", "x", 3, "https://…", "eedi", "configs/t.toml", "t4", "abc", False, state.now())
    state.remember("state", pushed)
    assert state.last_pushed() == pushed
    Path("build/kernel/state.json").write_text('{"owner": "ada"}')
    with pytest.raises(StateError, match="not what a push writes"):
        state.last_pushed()
    Path("build/kernel/state.json").write_text("{")
    with pytest.raises(StateError, match="not JSON"):
        state.last_pushed()


def test_what_cannot_be_remembered_is_an_error_and_leaves_what_was(tmp_path):
    state.remember("submission", {"ref": 1}, tmp_path)
    (tmp_path / f".submission.{os.getpid()}.json").symlink_to("/dev/full")
    with pytest.raises(StateError, match=r"submission\.json: cannot be written \(No space left on device\)"):
        state.remember("submission", {"ref": 2}, tmp_path)
    assert state.recall("submission", tmp_path) == {"ref": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["submission.json"]
