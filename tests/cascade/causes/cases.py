"""A log for each known cause, in the form in which its threads show it; frames as `file:line function`."""

from __future__ import annotations

from typing import NamedTuple

from tests.cascade.causes.forms import INNOCENT, engine, notebook, plain, worker

OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.74 GiB. GPU 0 has a total capacity of 14.56 GiB "
    "of which 605.88 MiB is free."
)
LOAD = ("vllm/v1/worker/gpu_worker.py:229 load_model", "vllm/model_executor/models/qwen2.py:444 __init__")
NCCL = "vllm/distributed/device_communicators/pynccl.py:104 __init__"
CONFIG = "vllm/engine/arg_utils.py:1277 create_engine_config"


class Case(NamedTuple):
    """`log`: what is read; `error`: how the exception begins; `where`, `process` and `what` of the cause that "
    "is told."""

    log: str
    error: str
    where: str
    process: str
    what: str


TP0, CORE = "Worker_TP0", "EngineCore_DP0"
CASES = {
    "gpu-memory-sampler": Case(
        worker(
            "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try "
            "lowering `max_num_seqs`", "vllm/v1/worker/gpu_model_runner.py:1554 _dummy_sampler_run",
        ), "RuntimeError: CUDA out of memory occurred", "vllm/v1/worker/gpu_model_runner.py:1554", TP0, "sampler",
    ),
    "gpu-memory-graphs": Case(
        worker(OOM, "vllm/v1/worker/gpu_model_runner.py:1686 capture_model", "torch/cuda/graphs.py:77 capture_begin"),
        "OutOfMemoryError: CUDA out of memory. Tried", "torch/cuda/graphs.py:77", TP0, "CUDA graphs",
    ),
    "gpu-memory-profile": Case(
        engine(OOM, "vllm/v1/worker/gpu_worker.py:126 determine_available_memory", "torch/nn/functional.py:12 linear"),
        "OutOfMemoryError", "torch/nn/functional.py:12", CORE, "largest batch",
    ),
    "gpu-memory-load": Case(
        worker(OOM, *LOAD), "OutOfMemoryError", "vllm/model_executor/models/qwen2.py:444", TP0, "while loading",
    ),
    "gpu-memory": Case(
        plain("RuntimeError: CUDA out of memory. Tried to allocate 34.00 MiB (GPU 0; 10.91 GiB total capacity)",
              "sentence_transformers/SentenceTransformer.py:580 encode"),
        "RuntimeError: CUDA out of", "sentence_transformers/SentenceTransformer.py:580", "", "CUDA out of memory",
    ),
    "gpu-not-free": Case(
        engine("ValueError: Free memory on device (3.22/14.56 GiB) on startup is less than desired GPU memory "
               "utilization (0.9, 13.1 GiB). Decrease GPU memory utilization",
               "vllm/v1/worker/gpu_worker.py:180 init_device"),
        "ValueError: Free memory on device", "vllm/v1/worker/gpu_worker.py:180", CORE, "only 3.22 of 14.56 GiB",
    ),
    "no-cache-blocks": Case(
        engine("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
               "initializing the engine.", "vllm/v1/core/kv_cache_utils.py:699 check_enough_kv_cache_memory"),
        "ValueError: No available memory", "vllm/v1/core/kv_cache_utils.py:699", CORE, "KV cache",
    ),
    "cache-too-small": Case(
        engine("ValueError: To serve at least one request with the models's max seq len (32768), (4.54 GiB KV cache "
               "is needed, which is larger than the available KV cache memory (1.71 GiB).",
               "vllm/v1/core/kv_cache_utils.py:716 check_enough_kv_cache_memory"),
        "ValueError: To serve at least one", "vllm/v1/core/kv_cache_utils.py:716", CORE, "32768 tokens",
    ),
    "bfloat16": Case(
        worker("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 "
               "GPU has compute capability 7.5.", "vllm/platforms/cuda.py:441 check_if_supports_dtype"),
        "ValueError: Bfloat16 is only", "vllm/platforms/cuda.py:441", TP0, "bfloat16",
    ),
    "quantisation-gpu": Case(
        engine("RuntimeError: ('Quantization scheme is not supported for ', 'the current GPU. Min capability: 80. ', "
               "'Current capability: 75.')", "vllm/model_executor/layers/linear.py:884 __init__"),
        "RuntimeError: ('Quantization scheme", "vllm/model_executor/layers/linear.py:884", CORE, "too old",
    ),
    "attention-gpu": Case(
        engine("RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
               "vllm/vllm_flash_attn/interface.py:91 varlen_func"),
        "RuntimeError: FlashAttention only", "vllm/vllm_flash_attn/interface.py:91", CORE, "attention backend",
    ),
    "triton-shared-memory": Case(
        engine("triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 81920, Hardware limit: "
               "65536. Reducing block sizes or `num_stages` may help.", "triton/compiler/compiler.py:480 "
               "_init_handles"),
        "OutOfResources: out of resource", "triton/compiler/compiler.py:480", CORE, "shared memory",
    ),
    "no-gpu-code": Case(
        engine("RuntimeError: CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors "
               "might be asynchronously reported at some other API call.", "torch/_ops.py:1269 __call__"),
        "RuntimeError: CUDA error: no kernel image", "torch/_ops.py:1269", CORE, "no code for this GPU",
    ),
    "old-driver": Case(
        plain("RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your GPU "
              "driver", "torch/cuda/__init__.py:412 _lazy_init"),
        "RuntimeError: The NVIDIA driver", "torch/cuda/__init__.py:412", "", "newer CUDA",
    ),
    "no-gpu": Case(
        plain("RuntimeError: Failed to infer device type", "vllm/config/device.py:58 __post_init__"),
        "RuntimeError: Failed to infer", "vllm/config/device.py:58", "", "no GPU",
    ),
    "too-few-gpus": Case(
        engine("AssertionError: local_world_size (2) must be less than or equal to the number of visible devices (1).",
               "vllm/v1/worker/gpu_worker.py:212 init_device"),
        "AssertionError: local_world_size", "vllm/v1/worker/gpu_worker.py:212", CORE, "more GPUs",
    ),
    "heads-split": Case(
        plain("ValueError: Total number of attention heads (28) must be divisible by tensor parallel size "
        "(3).", CONFIG),
        "ValueError: Total number", "vllm/engine/arg_utils.py:1277", "", "28 attention heads cannot be shared by 3",
    ),
    "quantised-split": Case(
        worker("ValueError: The input size is not aligned with the quantized weight shape. This can be caused by too "
               "large tensor parallel size.", *LOAD),
        "ValueError: The input size", "vllm/model_executor/models/qwen2.py:444", TP0, "split",
    ),
    "nccl-shared-memory": Case(
        worker("torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:268, unhandled system error\n"
               "Last error:\nError while creating shared memory segment /dev/shm/nccl-Abc (size 7340384)", NCCL),
        "DistBackendError: NCCL error", "vllm/…/pynccl.py:104", TP0, "/dev/shm",
    ),
    "peer-access": Case(
        worker("RuntimeError: CUDA error: peer access is not supported between these two devices",
               "vllm/distributed/device_communicators/custom_all_reduce.py:150 __init__"),
        "RuntimeError: CUDA error: peer", "vllm/…/custom_all_reduce.py:150", TP0, "each other's memory",
    ),
    "nccl": Case(
        worker("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)", NCCL),
        "RuntimeError: NCCL error", "vllm/…/pynccl.py:104", TP0, "NCCL",
    ),
    "quantisation-mismatch": Case(
        plain("pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, "
              "Quantization method specified in the model config (gptq) does not match the quantization method "
              "specified in the `quantization` argument (awq). [type=value_error]", CONFIG),
        "ValidationError: 1 validation error", "vllm/engine/arg_utils.py:1277", "", "than the model's (gptq)",
    ),
    "quantisation-unknown": Case(
        plain("pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n  Value error, Found "
              "unknown quantization: exl3 [type=value_error, input_value=ArgsKwargs]", CONFIG),
        "ValidationError: 1 validation error", "vllm/engine/arg_utils.py:1277", "", "quantisation exl3",
    ),
    "architecture-transformers": Case(
        plain("KeyError: 'qwen9'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback "
              '(most recent call last):\n  File "/opt/env/lib/python3.12/site-packages/transformers/auto.py", line '
              "1115, in from_pretrained\n    raise ValueError(\nValueError: The checkpoint you are trying to load has "
              "model type `qwen9` but Transformers does not recognize this architecture.",
              "transformers/auto.py:1113 __getitem__"),
        "ValueError: The checkpoint", "transformers/auto.py:1115", "", "architecture qwen9",
    ),
    "architecture-vllm": Case(
        plain("ValueError: Model architectures ['LlavaForConditionalGeneration'] are not supported for now.",
              "vllm/model_executor/models/registry.py:267 inspect_model_cls"),
        "ValueError: Model arch", "vllm/model_executor/models/registry.py:267", "", "LlavaForConditionalGeneration",
    ),
    "remote-code": Case(
        notebook("ValueError: The repository `/kaggle/input/m` contains custom code which must be executed to "
        "correctly "
                 "load the model.", "transformers/dynamic_module_utils.py:731 resolve_trust_remote_code"),
        "ValueError: The repository", "transformers/dynamic_module_utils.py:731", "", "code of its own",
    ),
    "broken-weights": Case(
        worker("safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
               "vllm/model_executor/model_loader/weight_utils.py:406 safetensors_weights_iterator"),
        "SafetensorError: Error while", "vllm/…/weight_utils.py:406", TP0, "cut or broken",
    ),
    "weights-names": Case(
        worker("KeyError: 'layers.0.mlp.down_proj.weight_scale'", "vllm/v1/worker/gpu_worker.py:229 load_model",
               "vllm/model_executor/models/qwen2.py:371 load_weights"),
        "KeyError: 'layers.0", "vllm/model_executor/models/qwen2.py:371", TP0, "layers.0.mlp.down_proj.weight_scale",
    ),
    "model-file": Case(
        plain("OSError: /kaggle/input/m does not appear to have a file named config.json. Checkout the page for files.",
              "transformers/utils/hub.py:510 cached_file"),
        "OSError: /kaggle/input/m", "transformers/utils/hub.py:510", "", "lacks config.json",
    ),
    "hub": Case(
        plain("huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the "
        "file on the "
              "Hub.\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent "
              'call last):\n  File "/opt/env/lib/python3.12/site-packages/transformers/hub.py", line 522, in cached\n'
              "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them.",
              "huggingface_hub/file_download.py:1489 _raise_on_head_call_error"),
        "LocalEntryNotFoundError", "huggingface_hub/file_download.py:1489", "", "internet",
    ),
    "length": Case(
        plain("pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, "
              "User-specified max_model_len (513) is greater than the derived max_model_len (512).", CONFIG),
        "ValidationError", "vllm/engine/arg_utils.py:1277", "", "max_length 513",
    ),
    "adapter-rank": Case(
        engine("ValueError: LoRA rank 64 is greater than max_lora_rank 16.", "vllm/lora/peft_helper.py:115 validate"),
        "ValueError: LoRA rank 64", "vllm/lora/peft_helper.py:115", CORE, "rank 64",
    ),
    "adapter-shape": Case(
        plain("RuntimeError: Error(s) in loading state_dict for PeftModelForCausalLM:\n\tsize mismatch for base_model."
              "model.layers.0.q_proj.lora_A.weight: copying a param with shape torch.Size([16, 4096]) from checkpoint",
              "peft/peft_model.py:1276 load_adapter"),
        "RuntimeError: Error(s) in loading", "peft/peft_model.py:1276", "", "another size",
    ),
    "engine-argument": Case(
        plain("TypeError: EngineArgs.__init__() got an unexpected keyword argument 'swap_space'",
              "vllm/entrypoints/llm.py:129 __init__"),
        "TypeError: EngineArgs", "vllm/entrypoints/llm.py:129", "", "no argument swap_space",
    ),
    "shared-library": Case(
        plain("ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
              "vllm/platforms/cuda.py:15 <module>"),
        "ImportError: libcudart", "vllm/platforms/cuda.py:15", "", "libcudart.so.13",
    ),
    "undefined-symbol": Case(
        plain("ImportError: /opt/env/lib/python3.12/site-packages/vllm/_C.abi3.so: undefined symbol: _ZN5torch3jit17ab",
              "vllm/platforms/cuda.py:15 <module>"),
        "ImportError: /opt/env", "vllm/platforms/cuda.py:15", "", "_C.abi3.so was built",
    ),
    "old-libc": Case(
        plain("ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by "
              "/opt/env/lib/python3.12/site-packages/Ops.cpython-312-x86_64-linux-gnu.so)", "ops/__init__.py:3 "
              "<module>"),
        "ImportError: /lib", "ops/__init__.py:3", "", "older than GLIBCXX_3.4.32",
    ),
    "numpy-changed": Case(
        plain("ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, "
              "got 88 from PyObject", "sklearn/__init__.py:70 <module>"),
        "ValueError: numpy.dtype", "sklearn/__init__.py:70", "", "another numpy",
    ),
    "bitsandbytes": Case(
        plain("ImportError: Using `bitsandbytes` 4-bit quantization requires the latest version of bitsandbytes",
              "transformers/quantizers/quantizer_bnb_4bit.py:75 validate_environment"),
        "ImportError: Using", "transformers/quantizers/quantizer_bnb_4bit.py:75", "", "bitsandbytes",
    ),
    "missing-module": Case(
        engine("ModuleNotFoundError: No module named 'llguidance'", "vllm/v1/structured_output/backend.py:9 <module>",
               "<frozen importlib._bootstrap>:1387 _gcd_import"),
        "ModuleNotFoundError: No module", "vllm/v1/structured_output/backend.py:9", CORE, "llguidance",
    ),
    "c-compiler": Case(
        engine("RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
               "triton/runtime/build.py:32 _build"),
        "RuntimeError: Failed to find C", "triton/runtime/build.py:32", CORE, "no C compiler",
    ),
    "disk-full": Case(
        INNOCENT + "Using Python 3.12.13 environment at: /tmp/cascade-kernel/environment\nResolved 225 packages in 1s\n"
        "error: Failed to install: torch-2.10.0-cp312-cp312-manylinux_2_28_x86_64.whl (torch==2.10.0)\n"
        "  Caused by: failed to copy file from /tmp/cache/libtorch.so\n  Caused by: No space left on device (os "
        "error 28)\n",
        ": Failed to install: torch", "", "", "disk is full",
    ),
    "wheel-hash": Case(
        "Resolved 3 packages in 50ms\n  × Failed to download `six==1.16.0`\n  ╰─▶ Hash mismatch for `six==1.16.0`\n\n"
        "      Expected:\n        sha256:8abb2f\n\n      Computed:\n        sha256:3813f0\n",
        ": Failed to download", "", "", "six==1.16.0",
    ),
    "broken-wheel": Case(
        "error: Failed to download `six==1.16.0`\n  cause: Failed to extract archive: /w/six-1.16.0-py3-none-any.whl\n"
        "  cause: Invalid zip file structure\n  cause: unable to locate the end of central directory record\n",
        ": Failed to download", "", "", "wheel is cut",
    ),
    "wheel-tags": Case(
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because torch==2.2.0 is unusable because no "
        "wheels are "
        "available with a matching Python implementation\n      and you require torch==2.2.0, we can conclude so.\n",
        ": No solution found", "", "", "torch==2.2.0",
    ),
    "wheel-missing": Case(
        "Looking in links: wheels\nERROR: Could not find a version that satisfies the requirement six==1.16.0 (from "
        "versions: none)\nERROR: No matching distribution found for six==1.16.0\n",
        ": No matching distribution", "", "", "six==1.16.0",
    ),
    "forked-cuda": Case(
        worker("RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
        "you must "
               "use the 'spawn' start method", "torch/cuda/__init__.py:300 _lazy_init"),
        "RuntimeError: Cannot re-init", "torch/cuda/__init__.py:300", TP0, "forked",
    ),
    "bootstrapping": Case(
        plain("RuntimeError: \n        An attempt has been made to start a new process before the\n        current "
              "process has finished its bootstrapping phase.",
              "/usr/lib/python3.12/multiprocessing/spawn.py:134 _check"),
        "RuntimeError: An attempt", "multiprocessing/spawn.py:134", "", "__main__",
    ),
    "illegal-access": Case(
        engine("torch.AcceleratorError: CUDA error: an illegal memory access was encountered\nCUDA kernel errors might "
               "be asynchronously reported.", "vllm/v1/worker/gpu_model_runner.py:900 execute_model"),
        "AcceleratorError: CUDA error", "vllm/v1/worker/gpu_model_runner.py:900", CORE, "not its own",
    ),
    "segfault": Case(
        INNOCENT + "(RayWorkerWrapper pid=24036) Fatal Python error: Segmentation fault\n(RayWorkerWrapper pid=24036)\n"
        "(RayWorkerWrapper pid=24036) Thread 0x00007f74519f0700 (most recent call first):\n(RayWorkerWrapper pid=24036)"
        '   File "/usr/lib/python3.12/threading.py", line 359 in wait\n(RayWorkerWrapper pid=24036) '
        '\n(RayWorkerWrapper '
        "pid=24036) Current thread 0x00007fcf597eb640 (most recent call first):\n(RayWorkerWrapper pid=24036)   File "
        '"/opt/env/lib/python3.12/site-packages/vllm/pynccl_wrapper.py", line 257 in ncclAllReduce\n(RayWorkerWrapper '
        'pid=24036)   File "/opt/env/lib/python3.12/site-packages/vllm/pynccl.py", line 9 in all\n',
        "Fatal Python error: Segmentation", "vllm/pynccl_wrapper.py:257", "RayWorkerWrapper", "SIGSEGV",
    ),
    "bus-error": Case(
        'Fatal Python error: Bus error\n\nStack (most recent call first):\n  File '
        '"/opt/env/lib/python3.12/site-packages/'
        'torch/storage.py", line 12 in _share\n',
        "Fatal Python error: Bus error", "torch/storage.py:12", "", "/dev/shm",
    ),
    "killed": Case(
        INNOCENT + "(EngineCore_DP0 pid=77) ERROR 11-28 10:01:05 [multiproc_executor.py:284] Worker proc VllmWorker-1 "
        "died unexpectedly (exit code: -9), shutting down executor.\nRuntimeWarning: x\n"
        + engine("RuntimeError: Engine core initialization failed. See root cause above.", "vllm/v1/core.py:3 wait"),
        "killed: the process was ended by SIGKILL", "", "VllmWorker-1", "memory is full",
    ),
    "kernel-died": Case(
        plain("nbclient.exceptions.DeadKernelError: Kernel died", "nbclient/client.py:1009 async_execute_cell"),
        "DeadKernelError: Kernel died", "nbclient/client.py:1009", "", "kernel died",
    ),
}  # fmt: skip
