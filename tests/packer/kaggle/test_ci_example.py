"""The job for GitHub Actions in docs/kaggle.md: it is YAML, and each command in it can be run."""

import re

import pytest

from cascade.base.runtime import ROOT
from tests.test_docs import BLOCK, OURS, make_dry, missing, paths

yaml = pytest.importorskip("yaml")


def test_each_step_of_the_example_can_be_run_and_the_push_waits():
    page = (ROOT / "docs" / "kaggle.md").read_text(encoding="utf-8")
    [block] = [text for text in BLOCK.findall(page) if text.startswith("name: ")]
    [job] = yaml.safe_load(block)["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    made = make_dry(set(commands))
    programs = {command: OURS.findall(made[command]) for command in commands}
    assert all(programs.values())
    assert not [lost for told in programs.values() for line in told for lost in missing(paths(line), set())]
    order = [re.search(r"packer ([a-z-]+)", line).group(1) for command in commands for line in programs[command]]
    assert order == ["wheels", "verify", "pack", "push-datasets", "push-kernel", "output"]
    assert "--wait --give-up 30" in programs[commands[-2]][0]
    assert job["env"] == {"KAGGLE_API_TOKEN": "${{ secrets.KAGGLE_API_TOKEN }}"}
