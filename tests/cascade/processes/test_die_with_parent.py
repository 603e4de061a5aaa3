"""A process whose parent is gone before it could look does not begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.processes import die_with_parent


@pytest.mark.parametrize("gone", [False, True])
def test_a_parent_that_is_gone_already(tmp_path: Path, gone: bool) -> None:
    other = subprocess.Popen([sys.executable, "-c", ""])
    other.wait()
    told = {die_with_parent.PARENT: str(other.pid)} if gone else die_with_parent.told()
    script = tmp_path / "said.py"
    script.write_text(
        f"import os\nopen({str(tmp_path / 'said')!r}, 'w').write(str({die_with_parent.PARENT!r} in os.environ))"
    )
    command = [sys.executable, "-m", "cascade.processes.die_with_parent", "said"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | told | {"PYTHONPATH": path}, check=False)
    assert done.returncode == int(gone)
    assert (tmp_path / "said").exists() is not gone
    assert gone or (tmp_path / "said").read_text() == "False", "its own children have another parent"
