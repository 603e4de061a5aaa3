"""The known causes: how each shows in an exception, what it is, and what to do about it in this project's own words.

Each was seen in public threads, whose form of log its test has. A pattern is searched in the exception that ended a
process, never in other lines. `python -m cascade.causes.reference` prints the table of docs/failed-starts.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cascade.causes.crash import Crash

# The package, but for its suffix of CUDA's version, that has a library of NVIDIA's.
WHEELS = {
    "libcudart": "nvidia-cuda-runtime", "libcublas": "nvidia-cublas", "libcublasLt": "nvidia-cublas",
    "libcudnn": "nvidia-cudnn", "libcufft": "nvidia-cufft", "libcurand": "nvidia-curand",
    "libcusolver": "nvidia-cusolver", "libcusparse": "nvidia-cusparse", "libcusparseLt": "nvidia-cusparselt",
    "libnccl": "nvidia-nccl", "libnvJitLink": "nvidia-nvjitlink", "libnvrtc": "nvidia-cuda-nvrtc",
    "libcupti": "nvidia-cuda-cupti", "libtorch": "torch", "libtorch_cuda": "torch", "libc10": "torch",
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """One cause. `pattern` is searched in `Kind: message` and the lines after it, `within` in its frames.

    `what` and `mend` may name the pattern's groups. `keys`: the config's keys, the engine's arguments as `vllm.NAME`,
    the variables as `environment.NAME` and the commands as `make NAME` that the mend names. `source`: a public thread.
    """

    name: str
    pattern: str
    what: str
    mend: str
    keys: tuple[str, ...]
    source: str
    within: str = ""

    def match(self, crash: Crash) -> re.Match[str] | None:
        """How the exception shows this cause; None where it does not."""
        found = re.search(self.pattern, crash.text)
        inside = not self.within or any(re.search(self.within, frame) for frame in crash.frames)
        return found if inside else None

    @staticmethod
    def words(found: re.Match[str]) -> dict[str, str]:
        """What stands for the names in `what` and `mend`: the pattern's groups, and the `wheel` of a `library`."""
        groups = {name: text or "" for name, text in found.groupdict().items()}
        return groups | {"wheel": WHEELS.get(groups.get("library", "").partition(".")[0], "the wheel that has it")}


OUT_OF_MEMORY = r"CUDA out of memory|CUDA (?:driver )?error: out of memory|CUDA failed with error out of memory"
LOADING = (
    r" (?:load_model|load_weights|create_weights|initialize_model|from_pretrained|process_weights_after_loading)\b"
)
# The first that matches counts, so the special ones stand before the general.
KNOWN = (
    # Memory of a GPU
    Known(
        "gpu-memory-sampler", r"CUDA out of memory occurred when warming up sampler",
        "the GPU's memory is full when vLLM warms up its sampler",
        "lower max_num_seqs or gpu_memory_utilization in [vllm]",
        ("vllm.max_num_seqs", "vllm.gpu_memory_utilization"), "vllm-project/vllm issue 14452",
    ),
    Known(
        "gpu-memory-graphs", OUT_OF_MEMORY, "the GPU's memory is full when vLLM captures CUDA graphs",
        "set enforce_eager = true in [vllm], or lower its gpu_memory_utilization",
        ("vllm.enforce_eager", "vllm.gpu_memory_utilization"), "vllm-project/vllm issue 15105",
        within=r" (?:capture_model|_capture_cudagraphs|capture_begin)\b",
    ),
    Known(
        "gpu-memory-profile", OUT_OF_MEMORY, "the GPU's memory is full when vLLM tries the largest batch",
        "lower max_num_batched_tokens in [vllm], or the stage's max_length",
        ("vllm.max_num_batched_tokens", "max_length"), "noonghunna/club-3090 issue 16",
        within=r" (?:profile_run|determine_available_memory)\b",
    ),
    Known(
        "gpu-memory-load", OUT_OF_MEMORY, "CUDA out of memory while loading the model",
        'set parallel = "tensor", cpu_offload_gb in [vllm], or a quantised model',
        ("parallel", "vllm.cpu_offload_gb", "model"), "vllm-project/vllm issue 16343", within=LOADING,
    ),
    Known(
        "gpu-memory", OUT_OF_MEMORY, "CUDA out of memory",
        "lower batch_size, max_length, or gpu_memory_utilization in [vllm]",
        ("batch_size", "max_length", "vllm.gpu_memory_utilization"), "huggingface/sentence-transformers issue 57",
    ),
    Known(
        "gpu-not-free", r"Free memory on device.{0,40}\((?P<free>[\d.]+)/(?P<all>[\d.]+) GiB\) on startup is less than",
        "only {free} of {all} GiB of the GPU are free when the engine starts",
        "end what else uses it, or lower gpu_memory_utilization in [vllm]",
        ("vllm.gpu_memory_utilization",), "vllm-project/vllm issue 20305",
    ),
    Known(
        "no-cache-blocks", r"No available memory for the cache blocks",
        "no GPU memory is left for the KV cache once the model is loaded",
        "raise gpu_memory_utilization in [vllm], or lower the stage's max_length",
        ("vllm.gpu_memory_utilization", "max_length"), "vllm-project/vllm issue 17431",
    ),
    Known(
        "cache-too-small",
        r"max seq len \(?(?P<length>\d+)\)?[^\n]*(?:larger than the available KV cache|larger than the maximum number)",
        "the KV cache has no room for one prompt of {length} tokens",
        "lower the stage's max_length, or raise gpu_memory_utilization in [vllm]",
        ("max_length", "vllm.gpu_memory_utilization"), "vllm-project/vllm issue 34076",
    ),
    # What the GPU can do
    Known(
        "bfloat16", r"Bfloat16 is only supported on GPUs with compute capability",
        "this GPU has no bfloat16", 'set dtype = "float16" in the stage, or remove dtype',
        ("dtype",), "vllm-project/vllm issue 1157",
    ),
    Known(
        "quantisation-gpu",
        r"(?:quantization method (?P<method>\S+) is not supported|Quantization scheme is not supported for)",
        "this GPU is too old for the model's quantisation {method}",
        "name an AWQ or GPTQ copy as model, and check it: make verify",
        ("model", "make verify"), "vllm-project/vllm issue 14040",
    ),
    Known(
        "attention-gpu", r"FlashAttention only supports Ampere GPUs|No valid attention backend found|"
        r"Selected backend \S+ is not valid for this configuration",
        "the attention backend does not run this model on this GPU",
        'set attention_backend = "TRITON_ATTN" in [vllm]',
        ("vllm.attention_backend",), "vllm-project/vllm issue 8189",
    ),
    Known(
        "triton-shared-memory", r"OutOfResources: out of resource: shared memory",
        "an attention kernel needs more shared memory than this GPU has",
        'set engine = "transformers", or a model with smaller heads',
        ("engine", "model"), "vllm-project/vllm issue 36802",
    ),
    Known(
        "no-gpu-code", r"no kernel image is available for execution on the device",
        "the installed packages have no code for this GPU",
        "lock versions that have it, and prove it: make wheels, make verify",
        ("make wheels", "make verify"), "vllm-project/vllm issue 19906",
    ),
    Known(
        "old-driver", r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        "the packages are for a newer CUDA than the driver supports",
        "pin the image, or lock packages for its CUDA: make wheels, make verify",
        ("make wheels", "make verify"), "modelscope/FunASR issue 2973",
    ),
    Known(
        "no-gpu", r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver on your system",
        "no GPU can be used here", 'turn on a GPU for the kernel, or set devices = ["cpu"]',
        ("devices",), "vllm-project/vllm issue 12847",
    ),
    Known(
        "too-few-gpus",
        r"cannot be larger than the number of available GPUs|local_world_size.{0,80}number of visible devices|"
        r"invalid device ordinal",
        "the config uses more GPUs than there are", "lower devices to what is there, or turn on T4 x2",
        ("devices",), "vllm-project/vllm pull request 28873",
    ),
    # Several GPUs
    Known(
        "heads-split",
        r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<cards>\d+)\)",
        "{heads} attention heads cannot be shared by {cards} GPUs",
        'set parallel = "data", or devices that divide them',
        ("parallel", "devices"), "vllm-project/vllm issue 11797",
    ),
    Known(
        "quantised-split", r"size is not aligned with the quantized weight shape",
        "the model's quantised weights cannot be split over so many GPUs",
        'set parallel = "data", or a copy with smaller groups as model',
        ("parallel", "model"), "vllm-project/vllm issue 5675",
    ),
    Known(
        "nccl-shared-memory", r"(?s)NCCL.*(?:/dev/shm|posix_fallocate|shared memory segment)|nccl.*No space left",
        "NCCL has no shared memory: /dev/shm is full or too small",
        'set NCCL_SHM_DISABLE = "1" in [environment]',
        ("environment.NCCL_SHM_DISABLE",), "NVIDIA/nccl issue 290",
    ),
    Known(
        "peer-access", r"peer access is not supported between these two devices|custom_all_reduce.*invalid argument",
        "these GPUs cannot read each other's memory", "set disable_custom_all_reduce = true in [vllm]",
        ("vllm.disable_custom_all_reduce",), "sgl-project/sglang issue 4814",
    ),
    Known(
        "nccl", r"NCCL error|ncclSystemError|ncclUnhandledCudaError|ncclInternalError",
        "the GPUs cannot talk to each other (NCCL)",
        'set NCCL_P2P_DISABLE = "1" in [environment], or parallel = "data"',
        ("environment.NCCL_P2P_DISABLE", "parallel"), "vllm-project/vllm issue 39774",
    ),
    # The model
    Known(
        "quantisation-mismatch",
        r"Quantization method specified in the model config \((?P<of>[^)]{1,40})\) does not match",
        "[vllm] asks for another quantisation than the model's ({of})",
        "remove quantization from [vllm]", ("vllm.quantization",), "vllm-project/vllm issue 19050",
    ),
    Known(
        "quantisation-unknown", r"[Uu]nknown quantization(?: method)?:? ?(?P<method>[\w.-]{0,40})",
        "vLLM does not know the model's quantisation {method}",
        "name an AWQ or GPTQ copy as model, or set quantization in [vllm]",
        ("model", "vllm.quantization"), "vllm-project/vllm issue 34028",
    ),
    Known(
        "architecture-transformers", r"model type `(?P<type>[^`]{1,60})` but Transformers does not recognize",
        "the installed transformers does not know the architecture {type}",
        "lock a newer transformers, or name another model: make wheels, make verify",
        ("model", "make wheels", "make verify"), "vllm-project/vllm issue 13579",
    ),
    Known(
        "architecture-vllm", r"Model architectures \['(?P<type>\w{1,80})'.{0,200}(?:are not supported|failed to be)",
        "vLLM cannot run the architecture {type}", 'set engine = "transformers", or name another model',
        ("engine", "model"), "vllm-project/vllm issue 9713",
    ),
    Known(
        "remote-code",
        r"contains custom code which must be executed|requires you to execute the (?:configuration|modeling) file",
        "the model comes with Python code of its own",
        "set trust_remote_code = true if you trust it, or name another model",
        ("trust_remote_code", "model"), "OpenGVLab/InternVL issue 1244",
    ),
    Known(
        "broken-weights", r"SafetensorError|MetadataIncompleteBuffer|InvalidHeaderDeserialization|HeaderTooLarge",
        "a file of the model's weights is cut or broken",
        "attach the model again, or pack and upload it again: make push-datasets",
        ("make push-datasets",), "QwenLM/Qwen3-VL issue 264",
    ),
    Known(
        "weights-names",
        r"There is no module or parameter named '(?P<weight>[^']{1,60})'|KeyError: '(?P<other>[\w.]+\.weight\w*)'",
        "the model's weights do not fit its architecture: {weight}{other}",
        "check the model's folder and quantization: make check, make verify",
        ("vllm.quantization", "make check", "make verify"), "vllm-project/vllm issue 28517",
        within=r" (?:load_weights|_load_module|load_model)\b",
    ),
    Known(
        "model-file",
        r"does not appear to have a file named (?P<file>[\w./-]{1,60})|no file named (?P<other>[\w./-]{1,60})",
        "the model's folder lacks {file}{other}", "correct model, and look for it: make check",
        ("model", "make check"), "meta-llama/llama issue 443",
    ),
    Known(
        "hub", r"couldn't connect to 'https://huggingface|LocalEntryNotFoundError|OfflineModeIsEnabled|Can't load the "
        r"(?:model|configuration|tokenizer)",
        "a model is looked for on the internet, and there is none",
        "give model a Kaggle handle or a folder: make check",
        ("model", "make check"), "yuruotong1/autoMate issue 104",
    ),
    Known(
        "length", r"max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len",
        "max_length {asked} is more than the model reads", "lower max_length, or remove it",
        ("max_length",), "vllm-project/vllm pull request 19660",
    ),
    Known(
        "adapter-rank", r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank",
        "the adapter's rank {rank} is more than the engine was opened for",
        "remove max_lora_rank from [vllm]: it follows from adapter",
        ("vllm.max_lora_rank", "adapter"), "unslothai/unsloth issue 2097",
    ),
    Known(
        "adapter-shape", r"(?s)loading state_dict for Peft.*size mismatch|size mismatch for base_model\.",
        "the adapter was trained on a model of another size", "correct adapter or model: make adapters",
        ("adapter", "model", "make adapters"), "huggingface/peft issue 2071",
    ),
    Known(
        "engine-argument", r"EngineArgs\.__init__\(\) got an unexpected keyword argument '(?P<key>\w{1,60})'",
        "this vLLM has no argument {key}", "correct [vllm], and check its names: make check",
        ("vllm", "make check"), "vllm-project/vllm issue 9398",
    ),
    # Packages
    Known(
        "shared-library", r"(?P<library>[\w.+-]{1,60}\.so[\w.]*): cannot open shared object file",
        "the shared library {library} is missing",
        "lock {wheel} for the CUDA of torch: make wheels, make verify",
        ("make wheels", "make verify"), "vllm-project/vllm issue 52300",
    ),
    Known(
        "undefined-symbol", r"(?P<library>[\w.+-]{1,60}\.so[\w.]*): undefined symbol",
        "{library} was built for another version of torch",
        "lock torch and vllm of one release: make wheels, make verify",
        ("make wheels", "make verify"), "vllm-project/vllm issue 13608",
    ),
    Known(
        "old-libc", r"version `(?P<version>GLIBC(?:XX)?_[\d.]+)' not found",
        "the image's C library is older than {version}",
        "lock wheels for the image's glibc: make wheels, make verify",
        ("make wheels", "make verify"), "kvcache-ai/ktransformers issue 439",
    ),
    Known(
        "numpy-changed", r"numpy\.(?:dtype|ndarray) size changed|numpy\.core\.multiarray failed to import",
        "a package was built for another numpy", "lock both anew: make wheels UPGRADE=1, make verify",
        ("make wheels", "make verify"), "Xt-cyh/CoDI-Eval issue 4",
    ),
    Known(
        "bitsandbytes", r"(?i)(?:requires|install).{0,60}bitsandbytes|PackageNotFoundError: .{0,60}bitsandbytes",
        "4-bit weights require the package bitsandbytes",
        "add it to wheels/IMAGE.in (make wheels), or set load_in_4bit = false",
        ("make wheels", "load_in_4bit"), "bitsandbytes-foundation/bitsandbytes issue 1530",
    ),
    Known(
        "missing-module", r"(?:ModuleNotFoundError|ImportError): No module named '(?P<module>[\w.]{1,60})'",
        "the package of {module} is not installed", "add it to wheels/IMAGE.in: make wheels, make verify",
        ("make wheels", "make verify"), "SystemPanic/vllm-windows issue 49",
    ),
    Known(
        "c-compiler", r"Failed to find C compiler",
        "Triton finds no C compiler", "set CC in [environment] to a compiler of the image",
        ("environment.CC",), "vllm-project/vllm issue 2997",
    ),
    Known(
        "disk-full", r"No space left on device|\[Errno 28\]|Disk quota exceeded|database or disk is full",
        "the disk is full", "free space, or set TMPDIR: what is deleted from a /tmp that copies on write stays used",
        (), "cocktailpeanut/fluxgym issue 406",
    ),
    Known(
        "wheel-hash", r"Hash mismatch for `(?P<package>[^`]{1,60})`|DO NOT MATCH THE HASHES",
        "the wheel of {package} is not the one that was locked", "upload it again: make pack, make push-datasets",
        ("make pack", "make push-datasets"), "astral-sh/uv issue 14883",
    ),
    Known(
        "broken-wheel", r"Failed to extract archive|Invalid zip file|BadZipFile|The wheel is invalid",
        "a wheel is cut or broken", "download and upload it again: make wheels, make push-datasets",
        ("make wheels", "make push-datasets"), "astral-sh/uv issue 2149",
    ),
    Known(
        "wheel-tags", r"Because (?P<package>[\w.=-]{1,60}) (?:has no wheels with a matching|is unusable)|"
        r"is not a supported wheel on this platform",
        "the wheel of {package} is for another Python or system",
        "pin the image, or lock for its Python: make wheels, make verify",
        ("make wheels", "make verify"), "astral-sh/uv issue 2538",
    ),
    Known(
        "wheel-missing",
        r"Because (?P<package>[\w.=-]{1,60}) was not found in the provided|"
        r"No matching distribution found for (?P<other>\S{1,60})",
        "no wheel of {package}{other} is in the dataset", "upload them again: make pack, make push-datasets",
        ("make pack", "make push-datasets"), "astral-sh/uv issue 9277",
    ),
    # Processes
    Known(
        "forked-cuda", r"Cannot re-initialize CUDA in forked subprocess",
        "a process that had used the GPU was forked",
        'set VLLM_WORKER_MULTIPROC_METHOD = "spawn" in [environment]',
        ("environment.VLLM_WORKER_MULTIPROC_METHOD",), "vllm-project/vllm issue 8893",
    ),
    Known(
        "bootstrapping", r"start a new process before the\s+current process has finished its bootstrapping phase",
        "code that starts processes is not guarded by __main__", "start processes only through the stage notebooks",
        (), "vllm-project/vllm issue 5637",
    ),
    Known(
        "illegal-access", r"an illegal memory access was encountered|device-side assert triggered",
        "a GPU kernel read memory that is not its own",
        'set enforce_eager = true or another attention_backend in [vllm]',
        ("vllm.enforce_eager", "vllm.attention_backend"), "vllm-project/vllm issue 24430",
    ),
    Known(
        "segfault", r"Fatal Python error: Segmentation fault|ended by SIGSEGV",
        "the process crashed in native code (SIGSEGV)",
        "check that the packages are of one release: make wheels, make verify",
        ("make wheels", "make verify"), "vllm-project/vllm issue 6252",
    ),
    Known(
        "bus-error", r"Fatal Python error: Bus error|ended by SIGBUS",
        "the process crashed on shared memory (SIGBUS): /dev/shm is full",
        'set parallel = "data", or NCCL_SHM_DISABLE = "1" in [environment]',
        ("parallel", "environment.NCCL_SHM_DISABLE"), "vllm-project/vllm issue 1710",
    ),
    Known(
        "killed", r"ended by SIGKILL|DefaultCPUAllocator: can't allocate memory|MemoryError",
        "the machine's memory is full: a process was killed",
        "lower batch_size or chunk, use fewer devices, or a smaller model",
        ("batch_size", "chunk", "devices", "model"), "snowflakedb/ArcticInference issue 63",
    ),
    Known(
        "kernel-died", r"DeadKernelError",
        "the notebook's kernel died without a word, most often because memory is full",
        "lower batch_size or chunk, and see peak_memory_mb in the ledger",
        ("batch_size", "chunk"), "nteract/papermill issue 478",
    ),
)  # fmt: skip
