"""This week's GPU and TPU time."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from packer.__main__ import app
from packer.kaggle import quota
from packer.kaggle.session import KaggleError, Session
from tests.kaggle_server import KaggleServer
from tests.kaggle_server.kernels import Kernels

NOW = datetime(2026, 11, 29, 4, 0, tzinfo=UTC)


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with KaggleServer() as server, server.login(monkeypatch):
        server.kernels = Kernels(server)
        yield server


def lines():
    return list(quota.lines(Session(patience=0.0), NOW))


def test_days_used_and_allowed_are_hours_and_the_reset_is_told(kaggle):
    kaggle.kernels.quota = {"totalTimeAllowed": "108000s", "timeUsed": "95400.500s", "timeReserved": "3600s"}
    kaggle.kernels.more_quota = {
        "tpuQuota": {"totalTimeAllowed": "72000s"},
        "quotaRefreshTime": "2026-12-05T00:00:00Z",
    }
    assert lines() == [
        "GPU: 26.5 h used, 1.0 h reserved by running sessions, 2.5 h left of 30.0 h",
        "TPU: 0.0 h used, 20.0 h left of 20.0 h",
        "reset at 2026-12-05 00:00 UTC, in 5 days 20 h",
    ]


def test_more_than_is_allowed_leaves_nothing(kaggle):
    kaggle.kernels.quota = {"totalTimeAllowed": "108000s", "timeUsed": "118800s"}
    assert lines() == ["GPU: 33.0 h used, 0.0 h left of 30.0 h"]


def test_what_kaggle_does_not_say_is_said(kaggle):
    kaggle.kernels.quota = {"timeUsed": "3600s"}
    assert lines() == ["GPU: 1.0 h used, Kaggle does not say how much is left"]
    kaggle.kernels.quota = {}
    kaggle.handlers["kernels.KernelsApiService/GetAcceleratorQuotaStatistics"] = lambda call: {"gpuQuota": None}
    assert lines() == ["Kaggle tells of no quota"]


def test_a_refusal_is_an_error(kaggle):
    kaggle.kernels.quota = None
    with pytest.raises(KaggleError, match="quota: Kaggle answers 404"):
        lines()


def test_the_command_shows_it(kaggle):
    said = CliRunner().invoke(app, ["quota"])
    assert (said.exit_code, said.stdout) == (0, "GPU: 8.5 h used, 21.5 h left of 30.0 h\n")
