"""What a machine reads of the commands that wait: exit codes, the last line, and that nothing is sent twice."""

import pytest
from typer.testing import CliRunner

from cascade.base.command_line import run_command_line
from packer import kaggle_commands
from packer.__main__ import app
from packer.kaggle import polling, session, state, submissions
from packer.kaggle.kernel import KernelError
from packer.kaggle.runs import Run, RunError
from packer.kaggle.session import KaggleError, Session
from tests.kaggle_server import CutError
from tests.kaggle_server.competitions import SUBMIT
from tests.kaggle_server.kernels import SAVE, STATUS, Version, entries
from tests.pushing import push_it

PUSH = ["push-kernel", "--config", "configs/t.toml", "--image", "t4"]


@pytest.fixture
def quick(monkeypatch):
    """No time goes by between two looks, and a call is tried once."""
    monkeypatch.setattr(polling, "growing", lambda *_, **__: iter([0.0] * 99))
    monkeypatch.setattr(session.Session.__init__, "__defaults__", (0.0, 0.01))


def coded(monkeypatch, *words):
    """The exit code that a shell sees."""
    monkeypatch.setattr("sys.argv", ["packer", *words])
    with pytest.raises(SystemExit) as ended:
        run_command_line(app)
    return ended.value.code


def test_a_push_waits_for_its_run(kaggle, quick):
    said = CliRunner().invoke(app, [*PUSH, "--wait"])
    assert said.exit_code == 0
    assert said.stdout.splitlines() == [
        "version 1 of ada/eedi-cascade: https://www.kaggle.com/code/ada/eedi-cascade",
        "version 1 of ada/eedi-cascade: COMPLETE",
    ]


def test_a_run_that_fails_after_the_push_is_exit_code_1_with_the_cause_last(kaggle, quick):
    failed = Version({}, ["RUNNING", "ERROR"], failure="Your notebook was stopped", log=entries(("stderr", 1.0, "x\n")))
    save = kaggle.handlers[SAVE]

    def saved(call):
        answer = save(call)
        kaggle.kernels.kept["ada/eedi-cascade"][-1] = failed
        return answer

    kaggle.handlers[SAVE] = saved
    said = CliRunner().invoke(app, [*PUSH, "--wait"])
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (1, "why: Your notebook was stopped")
    assert kaggle.methods().count(SAVE) == 1


@pytest.mark.parametrize("words", [["status", "--wait"], [*PUSH, "--wait"]], ids=["status", "push"])
def test_a_kaggle_that_stays_away_is_exit_code_2_and_nothing_is_pushed_again(kaggle, quick, monkeypatch, words):
    push_it()
    kaggle.faults[STATUS] = [CutError()] * 9
    before = kaggle.methods().count(SAVE)
    assert coded(monkeypatch, *words, "--give-up", "0") == 2
    assert kaggle.methods().count(SAVE) == before + (words[0] == "push-kernel")


def test_a_push_of_which_nothing_is_known_is_exit_code_2_and_one_that_is_refused_1(kaggle, quick, monkeypatch):
    kaggle.faults[SAVE] = [CutError()]
    monkeypatch.setattr(polling, "LOOKS", 1)
    assert coded(monkeypatch, *PUSH, "--wait") == 2
    assert kaggle.methods().count(SAVE) == 1
    kaggle.kernels.answer = {"error": "Maximum batch GPU session count of 2 reached."}
    assert coded(monkeypatch, *PUSH, "--wait") == 1


def test_a_kaggle_that_comes_back_is_waited_for_and_one_that_does_not_is_given_up():
    looks = iter([None, "busy", None, "seen"])

    def look():
        answer = next(looks)
        if answer is None:
            raise KaggleError("Kaggle cannot be reached")
        return answer

    assert polling.poll(look, lambda seen: seen == "seen", 1.0, [].append, lambda _: None) == "seen"
    looks = iter([None])
    with pytest.raises(KaggleError, match="cannot be reached"):
        polling.poll(look, bool, 1.0, [].append, lambda _: None, away=0.0)


def test_a_version_is_saved_without_a_run_and_every_command_says_so(kaggle, monkeypatch):
    said = CliRunner().invoke(app, [*PUSH, "--no-run"])
    name = "version 1 of ada/eedi-cascade"
    assert said.stdout == f"{name} is saved without a run: https://www.kaggle.com/code/ada/eedi-cascade\n"
    [body] = [call.body for call in kaggle.requests if call.method == SAVE]
    assert body["kernelExecutionType"] == "QUICK_SAVE"
    assert state.last_pushed().ran is False
    said = CliRunner().invoke(app, ["status"])
    assert (said.exit_code, said.stdout) == (0, f"{name}: saved without a run\n")
    for words in (["status", "--wait"], ["logs"], ["logs", "--follow"], ["output"], ["submit"], ["submit", "1"]):
        found = CliRunner().invoke(app, words).exception
        assert isinstance(found, RunError) and f"{name}: was saved without a run; push it to run" in str(found)
    assert SUBMIT not in kaggle.methods()


def test_a_version_that_kaggle_says_was_not_run_is_neither_waited_for_nor_submitted(kaggle):
    push_it()
    kaggle.kernels.kept["ada/eedi-cascade"][0].states = ["NEW_SCRIPT"]
    assert CliRunner().invoke(app, ["status"]).stdout.endswith(": NEW_SCRIPT: saved without a run\n")
    pushed = state.last_pushed()
    with pytest.raises(RunError, match="was saved without a run"):
        submissions.submit(Session(), pushed, Run("ada", "eedi-cascade", 1))
    found = CliRunner().invoke(app, ["status", "--wait"]).exception
    assert isinstance(found, RunError) and "was saved without a run" in str(found)


def test_a_saved_version_whose_answer_is_lost_is_found_and_has_no_run_to_wait_for(kaggle):
    kaggle.kernels.lost = CutError()
    assert "version 1 of ada/eedi-cascade is saved" in CliRunner().invoke(app, [*PUSH, "--no-run"]).stdout
    before = len(kaggle.requests)
    found = CliRunner().invoke(app, [*PUSH, "--no-run", "--wait"]).exception
    assert isinstance(found, KernelError) and "none to wait for; leave out one" in str(found)
    assert len(kaggle.requests) == before and kaggle.methods().count(SAVE) == 1


def test_a_record_of_a_push_from_before_is_of_a_version_that_ran(kaggle):
    push_it()
    record = state.recall("state")
    del record["ran"]
    state.remember("state", record)
    assert state.last_pushed().ran


def test_what_the_commands_bear_is_what_polling_does():
    assert kaggle_commands.TWELVE_HOURS * 60 == polling.LONGEST_AWAY
