"""Logs made in the forms that real programs write: vLLM's processes, a notebook under papermill, pip, uv, a crash."""

from __future__ import annotations

SITE = "/opt/env/lib/python3.12/site-packages"
MULTIPROCESSING = "/usr/lib/python3.12/multiprocessing/process.py"
INNOCENT = """INFO 11-28 10:00:01 [__init__.py:244] Automatically detected platform cuda.
INFO 11-28 10:00:03 [core.py:107] Initializing a V1 LLM engine (v0.19.1) with config: model='m', quantization=awq
WARNING 11-28 10:00:03 [utils.py:261] Reducing Torch parallelism. Error codes of NCCL are in NCCL_DEBUG=INFO.
WARNING 11-28 10:00:04 [env.py:17] If CUDA out of memory occurs, try lowering gpu_memory_utilization.
WARNING 11-28 10:00:04 [custom.py:9] Failed to import from vllm._C with ImportError('libcudart.so.13: cannot open')
[W1128 10:00:05.1 ProcessGroupNCCL.cpp:1538] Warning: destroy_process_group() was not called (function operator())
Loading safetensors checkpoint shards:   0% Completed | 0/5 [00:00<?, ?it/s]\r\
Loading safetensors checkpoint shards: 100% Completed | 5/5 [00:40<00:00, 8.1s/it]
<frozen importlib._bootstrap>:488: DeprecationWarning: No module named 'old' soon; no space left on device is fatal
INFO 11-28 10:00:50 [gpu_model_runner.py:1347] Model loading took 9.0900 GiB and 40.7 seconds
16 of 120 queries, 33 s left
"""
WARNED = """WARNING 11-28 10:00:06 [registry.py:12] Error in inspecting an optional model, which is passed over
WARNING 11-28 10:00:06 [registry.py:12] Traceback (most recent call last):
WARNING 11-28 10:00:06 [registry.py:12]   File "/opt/env/lib/python3.12/site-packages/vllm/x.py", line 3, in inspect
WARNING 11-28 10:00:06 [registry.py:12] RuntimeError: NCCL error: nothing that matters
"""


def frames(*places: str) -> list[str]:
    """A traceback's frames, each given as `file:line function`."""
    lines = []
    for place in places:
        path, _, rest = place.partition(":")
        number, _, function = rest.partition(" ")
        whole = path if path.startswith(("/", "<")) else f"{SITE}/{path}"
        lines += [f'  File "{whole}", line {number}, in {function}', "    return call(*args)", "           ^^^^^^^^^^^"]
    return lines


def traceback(error: str, *places: str) -> list[str]:
    """What Python prints of an exception."""
    return ["Traceback (most recent call last):", *frames(*places), *error.split("\n")]


def plain(error: str, *places: str) -> str:
    """A process that printed some and then died of an exception."""
    return INNOCENT + "\n".join(traceback(error, "/work/cascade/processes/workers.py:260 _live", *places)) + "\n"


def worker(error: str, *places: str) -> str:
    """Two ranks of vLLM that fail at once, their lines mixed; then the engine, then the process that had asked for it.

    The first rank fails of `error`, the second of what follows from it.
    """
    first = [
        f"(Worker_TP0 pid=215) ERROR 11-28 10:01:02 [multiproc_executor.py:857] {line}"
        for line in ["WorkerProc failed to start.", *traceback(error, "vllm/v1/executor/multiproc_executor.py:828 "
                     "worker_main", *places)]
    ]  # fmt: skip
    second = [
        f"(Worker_TP1 pid=216) ERROR 11-28 10:01:03 [multiproc_executor.py:857] {line}"
        for line in traceback(
            "RuntimeError: [gloo] Connection closed by peer [127.0.0.1]:41", "torch/dist.py:9 barrier"
        )
    ]
    half = len(first) // 2
    mixed = [line for pair in zip(first[half:], [*second, *[""] * len(first)], strict=False) for line in pair if line]
    rest = second[len(first) - half :]
    return INNOCENT + WARNED + "\n".join([*first[:half], *mixed, *rest, *engine_end(wrapped=True)]) + "\n"


def engine(error: str, *places: str) -> str:
    """vLLM's EngineCore that fails by itself, and says so twice, as it does."""
    said = traceback(error, "vllm/v1/engine/core.py:1110 run_engine_core", *places)
    logged = [f"(EngineCore_DP0 pid=77) ERROR 11-28 10:01:02 [core.py:718] {line}" for line in said]
    again = ["Process EngineCore_DP0:", *traceback(error, f"{MULTIPROCESSING}:314 _bootstrap", *places)]
    printed = [f"(EngineCore_DP0 pid=77) {line}" for line in again]
    return INNOCENT + "\n".join([*logged, *printed, *engine_end(wrapped=False)]) + "\n"


def engine_end(wrapped: bool) -> list[str]:
    """How the processes around one that failed end."""
    waited = "Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace."
    core = traceback(waited, "vllm/v1/executor/multiproc_executor.py:509 wait_for_ready") if wrapped else []
    said = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    return [
        *(f"(EngineCore_DP0 pid=77) ERROR 11-28 10:01:05 [core.py:718] {line}" for line in core),
        "[rank0]:[W1128 10:01:06.4 ProcessGroupNCCL.cpp:1538] Warning: destroy_process_group() was not called",
        *traceback(said, "vllm/entrypoints/llm.py:343 __init__", "vllm/v1/engine/utils.py:785 wait_for_engine_startup"),
    ]


def notebook(error: str, *places: str, coloured: bool = True) -> str:
    """A cell that failed under papermill: its own traceback, then IPython's, in colours or without."""
    name = error.partition(":")[0].rpartition(".")[2]
    red, off = ("\x1b[0;31m", "\x1b[0m") if coloured else ("", "")
    shown = [f"{red}{name}{off}{' ' * 34}Traceback (most recent call last)", f"Cell {red}In[3], line 2{off}"]
    shown += ["      1 context = RunContext()", f"{red}----> 2{off} stages.rerank(context, pipeline)", ""]
    for place in places:
        path, _, rest = place.partition(":")
        number, _, function = rest.partition(" ")
        whole = path if path.startswith(("/", "~")) else f"{SITE}/{path}"
        shown += [
            f"File {whole}:{number}, in {function}(self, *args)",
            "    311 # a line",
            f"--> {number} raise it",
            "",
        ]
    wrapper = "papermill.exceptions.PapermillExecutionError: "
    own = traceback(wrapper, "papermill/execute.py:251 raise_for_execution_errors")
    return "\n".join(["Executing Cell 3------", INNOCENT, "Ending Cell 3---------", *own, "-" * 75,
                      'Exception encountered at "In [3]":', "-" * 75, *shown, f"{red}{name}{off}: "
                      + error.partition(": ")[2], "", ""])  # fmt: skip
