"""A run's log while it goes on, by Kaggle's stream: cut, silent, repeated, ended."""

import itertools
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cascade.base.runtime import ROOT
from packer.__main__ import app
from packer.kaggle import follow, state
from packer.kaggle.runs import Run, RunError
from packer.kaggle.session import KaggleError, Session
from packer.kaggle.state import Pushed
from tests.kaggle_server import CUT, CutError, KaggleServer, RefusalError, Streamed
from tests.kaggle_server.kernels import STATUS, STREAM, Kernels, Version, entries, events

RUN = Run("ada", "k", 1)
PUSHED = Pushed("ada", "k", 1, "", "eedi", "", "", "", False, "")
LOG = [
    ("stdout", 0.5, "submission ze"),
    ("stdout", 0.6, "ro\nstage r1\n"),
    ("stderr", 12.25, "load:  10%\rload: 100%\n"),
    ("stdout", 13.0, "Übung – ende\n"),
]
WHOLE = [
    "      0.5   submission zero",
    "      0.6   stage r1",
    "     12.2 ! load: 100%",
    "     13.0   Übung – ende",
]


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with KaggleServer() as server, server.login(monkeypatch):
        server.kernels = Kernels(server)
        server.version = Version(states=["RUNNING"])
        server.kernels.kept["ada/k"] = [server.version]
        yield server


def lines(said=None, **settings):
    session = Session(patience=0.0, pause=0.01)
    settings = {"sleep": lambda _: None} | settings
    return list(follow.lines(session, RUN, (said if said is not None else []).append, **settings))


def test_a_stream_is_shown_to_its_end(kaggle):
    kaggle.version.streams = [b": hello\n\n" + events(*LOG, end=True)]
    assert lines() == WHOLE
    assert kaggle.methods().count(STREAM) == 1 and STATUS not in kaggle.methods()
    [body] = [call.body for call in kaggle.requests if call.method == STREAM]
    assert body == {"userName": "ada", "kernelSlug": "k", "versionLabel": "v1"}


@pytest.mark.parametrize("broken", [CUT, b""], ids=["broken", "closed"])
def test_a_stream_that_is_cut_anywhere_goes_on_without_a_line_twice(kaggle, broken):
    whole, session = events(*LOG, end=True), Session(patience=0.0)
    for cut in range(1, len(whole), 11):
        kaggle.version.streams = [whole[:cut] + broken, whole[: cut + 40] + broken, whole]
        assert list(follow.lines(session, RUN, print, sleep=lambda _: None)) == WHOLE


def test_a_line_is_shown_as_soon_as_it_is_whole(kaggle):
    kaggle.version.streams = [events(*LOG[:2])]
    slept = itertools.count()

    def never(_):
        raise KeyboardInterrupt(next(slept))

    told = follow.lines(Session(), RUN, print, sleep=never)
    assert [next(told), next(told)] == WHOLE[:2]
    with pytest.raises(KeyboardInterrupt):  # a person ends it while there is nothing to show
        next(told)


def test_a_run_that_has_ended_is_shown_by_the_log_as_kept_though_it_is_cut_otherwise(kaggle):
    kaggle.version.streams = [events(*LOG[:3]) + CUT, b""]
    kaggle.version.states = ["RUNNING", "ERROR"]
    kaggle.version.log = entries(("stdout", 0.6, "submission zero\nstage r1\n"), *LOG[2:])
    assert lines() == WHOLE
    assert lines() == [WHOLE[0].replace("0.5", "0.6"), *WHOLE[1:]]  # times as they are kept


def test_a_stream_that_never_ends_is_left_once_its_run_has(kaggle):
    kaggle.version.states, kaggle.version.log = ["COMPLETE"], entries(*LOG)
    kaggle.handlers[STREAM] = lambda call: Streamed(events(*LOG[:1]), forever=b": still here\n")
    assert lines(longest=0.1) == WHOLE


def test_a_kaggle_that_is_away_is_waited_for_and_given_up_at_last(kaggle):
    kaggle.faults[STREAM] = [CutError(), RefusalError(503), RefusalError(404, "not published yet")]
    kaggle.faults[STATUS] = [CutError(), RefusalError(500)]
    kaggle.version.streams = [events(*LOG, end=True)]
    said = []
    assert lines(said) == WHOLE
    assert sum("still trying" in text for text in said) == 5
    kaggle.version.streams, kaggle.faults[STREAM], kaggle.faults[STATUS] = [], [CutError()], [CutError()]
    with pytest.raises(KaggleError, match="status of version 1 of ada/k: Kaggle cannot be reached"):
        lines(away=0.0)


def test_a_run_that_has_no_stream_yet_is_asked_again(kaggle):
    kaggle.version.states = ["QUEUED", "COMPLETE"]
    kaggle.handlers[STREAM] = lambda call: b""
    kaggle.version.log = entries(*LOG)
    assert lines() == WHOLE
    assert kaggle.methods().count(STREAM) == 2


def test_a_version_without_a_run_or_that_is_not_there_has_no_log(kaggle):
    kaggle.faults[STREAM] = [RefusalError(404)] * 2
    kaggle.version.states = ["NEW_SCRIPT"]
    with pytest.raises(RunError, match="version 1 of ada/k: was saved without a run"):
        lines()
    kaggle.kernels.kept.clear()
    with pytest.raises(RunError, match="no such version"):
        lines()


def test_an_event_that_is_no_json_is_shown_as_it_stands(kaggle):
    kaggle.version.streams = [b'data: oops\n\ndata: {"data": "text\\n"}\n\ndata: [1]\n\ndata: END_OF_LOG\n\n']
    assert [line.strip() for line in lines()] == ["0.0   oops", "0.0   text", "0.0   [1]"]


def test_the_command_follows(kaggle):
    state.remember("state", PUSHED)
    kaggle.version.streams = [events(*LOG, end=True)]
    said = CliRunner().invoke(app, ["logs", "--follow"])
    assert (said.exit_code, said.stdout.splitlines()) == (0, WHOLE)


def test_ctrl_c_ends_it_without_a_traceback(kaggle, tmp_path):
    state.remember("state", PUSHED)
    kaggle.version.log = entries(LOG[0], LOG[1])
    variables = (
        os.environ | kaggle.variables() | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    )
    command = [sys.executable, "-P", "-u", "-m", "packer", "logs", "--follow"]
    going = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert [going.stdout.readline().rstrip() for _ in range(2)] == WHOLE[:2]
    going.send_signal(signal.SIGINT)
    _, said = going.communicate(timeout=60)
    assert going.returncode == 130 and "Traceback" not in said
