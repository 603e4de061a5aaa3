"""Why a run at Kaggle failed, by its log and by what it left, through the commands."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from packer.__main__ import app
from packer.kaggle import state, why
from packer.kaggle.state import Pushed
from tests.cascade.causes import forms
from tests.kaggle_server import KaggleServer, RefusalError
from tests.kaggle_server.kernels import OUTPUT, Kernels, Version, entries

FAILED = "ValueError: numpy.dtype size changed, may indicate binary incompatibility"
WHY = (
    "why: a package was built for another numpy (sklearn/__init__.py:70). "
    "Fix: lock both anew: make wheels UPGRADE=1, make verify"
)
STAGES = [
    {"stage": "rerank-p1", "failure": "CUDA out of memory (cuda:0)", "used": False, "mend": "lower batch_size"},
    {"stage": "retrieve-r1", "failure": None, "used": True, "mend": None},
]


@pytest.fixture
def failed(monkeypatch, tmp_path):
    """Kaggle with a kernel whose run failed, its log in pieces as Kaggle keeps it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    state.remember("state", Pushed("ada", "k", 1, "", "eedi", "", "", "", False, ""))
    log = forms.notebook(FAILED, "sklearn/__init__.py:70 <module>")
    pieces = [("stderr" if n % 7 else "stdout", n / 10, text) for n, text in enumerate(log.splitlines(keepends=True))]
    with KaggleServer() as server, server.login(monkeypatch):
        kernels = server.kernels = Kernels(server)
        kernels.files = {"practice/result.json": json.dumps({"stages": STAGES, "problems": []}).encode()}
        kernels.kept["ada/k"] = [Version(states=["ERROR"], failure="it ended", pages=[[]], log=entries(*pieces))]
        yield kernels


def test_status_tells_the_cause_last(failed):
    said = CliRunner().invoke(app, ["status"])
    first, *rest, last = said.stdout.splitlines()
    assert (said.exit_code, first, last) == (1, "version 1 of ada/k: ERROR: it ended", WHY)
    assert any(line.endswith("incompatibility") for line in rest)
    version = failed.kept["ada/k"][0]
    version.log = entries(("stdout", 1.0, "nothing is known\n"))
    assert CliRunner().invoke(app, ["status"]).stdout.splitlines()[-1] == "why: it ended"
    version.log = version.failure = ""
    said = CliRunner().invoke(app, ["status", "--wait"])
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (1, "why: neither Kaggle nor the log says")


def test_a_failure_whose_log_cannot_be_had_is_a_failure_all_the_same(failed):
    failed.server.faults[OUTPUT] = [RefusalError(404)]
    said = CliRunner().invoke(app, ["status", "--wait"])
    last = said.stdout.splitlines()[-1]
    assert said.exit_code == 1 and last.startswith("why: it ended (its log cannot be had: version 1 of ada/k: ")


def test_output_tells_the_cause_by_what_the_run_left_else_by_its_log(failed):
    assert CliRunner().invoke(app, ["output"]).stdout.splitlines()[-1] == WHY
    failed.kept["ada/k"][0].pages = [["practice/result.json"]]
    said = CliRunner().invoke(app, ["output"]).stdout.splitlines()
    assert [line for line in said if line.startswith("why: ")] == [
        "why: rerank-p1 failed (CUDA out of memory (cuda:0)); fix: lower batch_size"
    ]
    failed.kept["ada/k"][0].states = ["COMPLETE"]
    assert "why: " not in CliRunner().invoke(app, ["output"]).stdout


def test_the_error_that_a_commit_run_ends_with_is_told_with_its_fix():
    """Its list of failures, a line each, of which the first is the cause."""
    raised = "StageError: rerank-p1 failed (CUDA out of memory (cuda:0)); fix: lower batch_size\nanother: failed"
    told = list(why.of_log(forms.notebook(raised, "cascade/kaggle/kernel.py:263 settle")))
    assert told == [
        "why: rerank-p1 failed (CUDA out of memory (cuda:0)) (cascade/kaggle/kernel.py:263). Fix: lower batch_size"
    ]
    assert list(why.of_output(Path("nowhere"), "")) == []


def test_an_installation_that_failed_is_told_with_its_fix_and_not_its_log_alone():
    raised = (
        "InstallError: could not install the wheels: it is cut; upload it again: make pack (see /kaggle/install.log)"
    )
    (told,) = why.of_log(forms.notebook(raised, "cascade/kaggle/environment.py:130 _step"))
    assert told.endswith("Fix: upload it again: make pack (see /kaggle/install.log)")


def test_a_record_of_the_machine_that_is_none_does_not_hide_the_cause(failed):
    failed.files["image.json"] = b"{}"
    failed.kept["ada/k"][0].pages = [["practice/result.json", "image.json"]]
    said = CliRunner().invoke(app, ["output"])
    lines = said.stdout.splitlines()
    assert said.exit_code == 0 and any(line.startswith("why: rerank-p1 failed") for line in lines)
    assert lines[-1].startswith("its machine is not compared: ")
