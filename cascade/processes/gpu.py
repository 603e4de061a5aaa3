"""What nvidia-smi says of the GPUs, without loading torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from cascade.processes.tree import end

ANSWER = 30.0  # seconds that nvidia-smi has: it hangs once a card has failed


def gpu_count() -> int:
    """How many GPUs this process may use, without loading torch: by CUDA_VISIBLE_DEVICES, else nvidia-smi."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([card for card in visible.split(",") if card.strip() not in ("", "-1")])
    return len(nvidia_smi("index"))


def gpu_capability() -> tuple[int, ...]:
    """The least compute capability of the visible GPUs, such as (7, 5), without loading torch; () where none tells."""
    found = [tuple(map(int, line.split("."))) for line in nvidia_smi("compute_cap") if line.replace(".", "").isdigit()]
    named = [card.strip() for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if all(card.isdigit() and int(card) < len(found) for card in named):
        found = [found[int(card)] for card in named]
    return min(found, default=())


def gpu_memory_used_mb() -> float:
    """Memory in use on all visible GPUs together, in MiB as nvidia-smi says; 0 where it says nothing."""
    return sum(float(line) for line in nvidia_smi("memory.used") if line.replace(".", "").isdigit())


def nvidia_smi(field: str) -> list[str]:
    """One line a GPU of a field of `nvidia-smi --query-gpu`; none where there is no GPU, or no answer."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return []
    try:
        answer, _ = process.communicate(timeout=ANSWER)
    except subprocess.TimeoutExpired:  # waited for, as subprocess.run does, it would hang this process too
        end(process)
        if process.stdout is not None:
            process.stdout.close()
        return []
    return [line.strip() for line in answer.splitlines() if line.strip()] if process.returncode == 0 else []


def wait_for_gpu_memory(before: float, patience: float = 60.0) -> None:
    """Waits until no more GPU memory is in use than `before` a stage (and 512 MiB): drivers free it late."""
    give_up = time.monotonic() + patience
    while gpu_memory_used_mb() > before + 512 and time.monotonic() < give_up:
        time.sleep(0.5)
