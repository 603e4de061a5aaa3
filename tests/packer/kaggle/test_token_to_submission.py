"""The way from a token to a submission, each command as a person types it, against Kaggle's API on loopback."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from cascade.base.runtime import ROOT
from tests.kaggle_server import KaggleServer
from tests.kaggle_server.competitions import Competitions
from tests.kaggle_server.datasets import CREATE, PUT, START, UPDATE, Datasets
from tests.kaggle_server.kernels import Kernels
from tests.packing import IMAGE, make_project

CONFIG = "configs/tiny-llm.toml"
COMPETITION = "eedi-mining-misconceptions-in-mathematics"


@pytest.fixture
def project(tmp_path):
    folder = make_project(tmp_path / "project")
    shutil.copy(ROOT / "kernel-metadata.json", folder)
    with (folder / "wheels" / f"{IMAGE}.toml").open("a") as file:
        file.write('accelerator = "NvidiaTeslaT4"\n')
    return folder


@pytest.fixture
def kaggle():
    with KaggleServer() as server:
        server.datasets, server.kernels = Datasets(server), Kernels(server)
        server.competitions = Competitions(server, **{COMPETITION: True})
        yield server


def typed(project, kaggle, *words):
    """What `python -m packer` answers: its exit code, and all it prints."""
    variables = {name: value for name, value in os.environ.items() if name.lower() not in ("no_proxy", "https_proxy")}
    variables |= {**kaggle.variables(), "HOME": str(project.parent), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "packer", *words], cwd=project, env=variables, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_from_token_to_submission_by_the_commands_of_the_readme(project, kaggle):
    made = ("--config", CONFIG, "--image", IMAGE)

    code, said = typed(project, kaggle, "push-kernel", *made)
    assert code != 0 and "make pack" in said

    code, said = typed(project, kaggle, "pack", *made)
    assert code == 0, said
    assert all(f"build/datasets/cascade-kernel-{kind}" in said for kind in ("code", "wheels", "adapters"))

    [packed] = (project / "build/datasets").glob("*-code/manifest.json")
    assert json.loads(packed.read_text())["about"]["competition"] == COMPETITION  # by which the kernel finds its data

    code, said = typed(project, kaggle, "push-kernel", *made)  # nothing is uploaded yet
    assert code == 1 and "make push-datasets" in said

    code, said = typed(project, kaggle, "push-datasets", *made)
    assert code == 0, said
    assert said.count("created") == 3 and kaggle.methods().count(CREATE) == 3
    assert all(call.body["isPrivate"] for call in kaggle.requests if call.method == CREATE)

    before = len(kaggle.requests)
    code, said = typed(project, kaggle, "push-datasets", *made)
    assert code == 0 and said.count("unchanged") == 3
    assert not {START, PUT, CREATE, UPDATE} & {call.method for call in kaggle.requests[before:]}

    code, said = typed(project, kaggle, "push-kernel", *made)
    assert code == 0, said
    assert "version 1 of ada/eedi-cascade: https://" in said
    [version] = kaggle.kernels.kept["ada/eedi-cascade"]
    notebook = json.loads(version.body["text"])
    assert any('config: str = "configs/tiny-llm.toml"' in "".join(cell["source"]) for cell in notebook["cells"])
    assert version.body["enableInternet"] is False and version.body["machineShape"] == "NvidiaTeslaT4"

    version.pages = [["submission.csv"], ["ledger.jsonl"]]
    kaggle.kernels.files = {"submission.csv": b"a,b\n", "ledger.jsonl": b"{}\n"}
    version.log = json.dumps([{"stream_name": "stdout", "time": 1.5, "data": "submission zero\n"}])
    code, said = typed(project, kaggle, "status", "--wait")
    assert code == 0 and said.startswith("version 1 of ada/eedi-cascade: COMPLETE\n")  # what stderr showed stands below
    assert "submission zero" in typed(project, kaggle, "logs")[1]
    code, said = typed(project, kaggle, "output")
    assert code == 0 and (project / "build/output/ada-eedi-cascade/1/ledger.jsonl").read_bytes() == b"{}\n"

    code, said = typed(project, kaggle, "submit")
    assert code == 0 and "is submission 100" in said
    code, said = typed(project, kaggle, "submit")
    assert code != 0 and len(kaggle.competitions.made) == 1  # one submission is left tonight

    kaggle.competitions.states = [{"status": "PENDING"}, {"status": "COMPLETE", "publicScore": "0.612"}]
    code, said = typed(project, kaggle, "watch", "--every", "1")
    assert code == 0 and "COMPLETE, public score 0.612" in said


def test_a_token_that_has_expired_stops_before_anything_is_sent(project, kaggle):
    made = ("--config", CONFIG, "--image", IMAGE)
    assert typed(project, kaggle, "pack", *made)[0] == 0
    kaggle.token_is_active = False
    code, said = typed(project, kaggle, "push-datasets", *made)
    assert code == 2 and "not logged in at Kaggle, or the login has expired" in said
    assert set(kaggle.methods()) == {"security.OAuthService/IntrospectToken"}
