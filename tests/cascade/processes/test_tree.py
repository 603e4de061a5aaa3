"""Starting, limiting and ending processes; waiting for GPU memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cascade.processes import gpu, tree

# A grandchild that has left its session, and whose parent is gone, is found and ended all the same.
ORPHAN = """
import os, sys, time
from pathlib import Path
from cascade.processes import tree

tree.become_subreaper()
child = "import os, time\\nif os.fork() == 0:\\n    os.setsid()\\n    if os.fork() == 0:\\n        time.sleep(1000)\\n"
outcome = tree.run([sys.executable, "-c", child + "time.sleep(1)"], Path(sys.argv[1]), os.environ, None)
print(outcome.code, len(tree.psutil.Process().children(recursive=True)))
"""


def test_an_orphan_in_a_session_of_its_own_is_ended(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "log")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["0", "0"]


# nvidia-smi as it answers with --loop, for two cards: until it is ended.
LOOPING = "#!/bin/sh\nprintf '3\\n5\\n'; printf '3\\n14000\\n'; printf '9\\n5\\n'; exec sleep 1000\n"


def test_the_most_that_any_card_held_is_told(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(LOOPING)
    program.chmod(0o755)
    script = (
        "import os, sys; from pathlib import Path; from cascade.processes import tree;"
        "print(tree.run(['sleep', '0.5'], Path(sys.argv[1]), os.environ, None).peak_gpu_memory_mb)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")], capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout.split() == ["14000.0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "nvidia-smi"]


def test_a_process_is_ended_at_its_limit(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path; from cascade.processes import tree;"
        "print(tree.run(['sleep', '100'], Path(sys.argv[1]), os.environ, time.time() + 0.5).code)"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "None"
    assert time.monotonic() - start < 30


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name on the PATH that answers with the lines of a file, one a call, the last for ever."""
    answers = tmp_path / "answers"
    script = tmp_path / "nvidia-smi"
    script.write_text(
        f"#!/bin/sh\nhead -n 1 {answers} | tr , '\\n'\n"
        f'[ "$(wc -l < {answers})" -gt 1 ] && sed -i 1d {answers}\nexit 0\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return answers


def test_gpu_memory_is_summed_over_cards(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("300,450\n")
    assert gpu.gpu_memory_used_mb() == 750


def test_it_waits_until_gpu_memory_is_free(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("14000,14000\n9000,200\n300,450\n")
    gpu.wait_for_gpu_memory(before=700)
    assert nvidia_smi.read_text() == "300,450\n"


def test_it_does_not_wait_for_ever(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("14000\n")
    start = time.monotonic()
    gpu.wait_for_gpu_memory(before=0, patience=1)
    assert 1 <= time.monotonic() - start < 20


def test_an_nvidia_smi_that_outlives_its_end_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a failed card, whose driver lets nothing end: SIGKILL has no effect."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    ended: list[subprocess.Popen[str]] = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: ended.append(process))
    monkeypatch.setattr(gpu, "ANSWER", 0.2)
    monkeypatch.setattr(tree, "REAPED", 0.2)
    assert gpu.nvidia_smi("index") == []
    (left,) = ended
    assert left.poll() is None
    os.kill(left.pid, signal.SIGKILL)
    left.wait()


# One that was left behind holds up neither the stage it belonged to for ever nor the next one at all.
UNKILLABLE = """
import os, subprocess, sys, time
from pathlib import Path
from cascade.processes import tree

child = subprocess.Popen(["sleep", "1000"])
tree.psutil.Process.kill = lambda process: None
print(tree.end_descendants(patience=0.3) == [child.pid])
start = time.monotonic()
print(tree.run(["true"], Path(sys.argv[1]), os.environ, None).code, time.monotonic() - start < 20)
child.kill()
"""


def test_what_outlives_sigkill_is_left_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNKILLABLE, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["True", "0", "True"]
