"""Tiny valid wheels, and a project whose image they are for: to break one thing at a time."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packer.vllm import api
from packer.wheels import images
from packer.wheels.images import Image

FACTS = """
python = "3.12.13"
abi = "cp312"
machine = "x86_64"
glibc = "2.35"
extras = ["models"]
seen = "never: for tests"
"""
CARDS = 'gpus = 2\ncapability = "7.5"\ncuda = "12.8"\ndriver = "580.159.04"\n'


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Iterable[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    tag: str = "py3-none-any",
    python: str = "",
    info: Mapping[str, str | bytes | None] | None = None,
) -> Path:
    """A wheel with one module of its own name, unless `files` says otherwise.

    `info`: files of the .dist-info in other words, None leaves one out.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    metadata += [f"Requires-Python: {python}"] if python else []
    extras = {r.partition("extra ==")[2].strip(" '\"") for r in requires if "extra ==" in r}
    metadata += [f"Provides-Extra: {extra}" for extra in sorted(extras)]
    held = {name.replace("-", "_") + ".py": ""} if files is None else files
    content = {file: each.encode() if isinstance(each, str) else each for file, each in held.items()}
    content[f"{stem}.dist-info/METADATA"] = ("\n".join(metadata) + "\n").encode()
    content[f"{stem}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    record = [f"{file},,{len(each)}" for file, each in content.items()] + [f"{stem}.dist-info/RECORD,,"]
    content[f"{stem}.dist-info/RECORD"] = ("\n".join(record) + "\n").encode()
    for file, other in (info or {}).items():
        content.pop(f"{stem}.dist-info/{file}", None)
        if other is not None:
            content[f"{stem}.dist-info/{file}"] = other.encode() if isinstance(other, str) else other
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, each in content.items():
            archive.writestr(file, each)
    return path


def vllm_source(extract: Mapping[str, Any]) -> dict[str, str]:
    """The files of a vLLM that offers what `extract` says (see packer.vllm.api), and nothing else."""

    def fields(names: Iterable[str]) -> str:
        return "".join(f"    {name}: object\n" for name in names) or "    pass\n"

    def method(name: str, parameters: Iterable[str]) -> str:
        return f"    def {name}({', '.join(['self', *parameters])}): pass\n"

    arguments, enums, bounds = "", "", ""
    for name, told in extract["engine_arguments"].items():
        kinds = list(told.get("types", []))
        kinds += [f"Literal{told['choices']!r}"] if "choices" in told else []
        if "members" in told:
            kinds.append(f"Of_{name}")
            enums += f"class Of_{name}(Enum):\n" + "".join(f"    {each} = '{each}'\n" for each in told["members"])
        limits = ", ".join(f"{bound}={told[bound]}" for bound in ("gt", "ge", "lt", "le") if bound in told)
        bounds += f"    {name}: object = Field({limits})\n"
        arguments += f"    {name}: {' | '.join(kinds) or 'SomeConfig'} = Bounds.{name}\n"
    variables = "".join(
        f"{name!r}: " + (f"env_with_choices('', None, {told['choices']!r}), " if told else "None, ")
        for name, told in extract["environment"].items()
    )
    files = {
        "_version.py": f"__version__ = {extract['version']!r}\n",
        "engine/arg_utils.py": f"{enums}class Bounds:\n{bounds}class EngineArgs:\n{arguments}",
        "entrypoints/llm.py": "class LLM:\n"
        + "".join(method(*each) for each in {"__init__": extract["llm_arguments"], **extract["methods"]}.items()),
        "lora/peft_helper.py": f"class PEFTHelper:\n{fields(extract['adapter_fields'])}",
        "envs.py": f"environment_variables = {{{variables}}}\n",
        api.SHARDED: f"class ShardedStateLoader:\n    DEFAULT_PATTERN = {extract['sharded_files']!r}\n",
        api.MARLIN: "class MarlinLinearKernel:\n    def process_weights_after_loading(self):\n"
        f"        assert weight_type in ({''.join(f'scalar_types.{each}, ' for each in extract['int8_weights'])})\n",
        "model_executor/models/registry.py": f"_TEXT_GENERATION_MODELS = {dict.fromkeys(extract['architectures'])}\n",
    }
    for name, file in api.CLASSES.items():
        files[file] = files.get(file, "") + f"class {name}:\n{fields(extract['classes'][name])}"
    for name, file in api.CHOICES.items():
        files[file] = files.get(file, "") + f"{name} = Literal{extract['choices'][name]!r}\n"
    return {f"vllm/{file}": text for file, text in files.items()}


def make_image(root: Path, requires: Iterable[str], source: str = "", facts: str = "") -> Image:
    """The image `tiny` of a project in `root`, whose cascade is `source`; no wheels, no lock."""
    quoted = ", ".join(f'"{each}"' for each in requires)
    files = {
        "pyproject.toml": f'[project]\nname = "toy"\nversion = "1"\ndependencies = [{quoted}]\n'
        "[project.optional-dependencies]\nmodels = []\n",
        "cascade/__init__.py": source,
        "wheels/tiny.toml": FACTS + facts,
        "wheels/tiny.in": "# nothing else\n",
    }
    for file, text in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    return images.load("tiny", root / "wheels")


def lock(image: Image) -> None:
    """Locks what lies in the image's folder."""
    lines = []
    for path in sorted(image.wheels.glob("*.whl")):
        name, version = path.name.split("-")[:2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n")
    image.lock.write_text("".join(lines))


def unlock(image: Image, name: str) -> None:
    """Takes a package's two lines out of the lock."""
    lines = image.lock.read_text().splitlines(keepends=True)
    kept = [pair for pair in zip(lines[::2], lines[1::2], strict=True) if not pair[0].startswith(f"{name}==")]
    image.lock.write_text("".join(line for pair in kept for line in pair))


def fat_binary(*entries: tuple[int, int]) -> bytes:
    """A container of (kind, architecture) entries: kind 1 is PTX, 2 machine code. As packer.elf describes it."""
    body = b"".join(
        struct.pack("<HHIQ12xI", kind, 0x101, 64, 16, architecture).ljust(64, b"\0") + b"\xff" * 16
        for kind, architecture in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def shared_library(needed: Iterable[str] = (), fatbin: bytes = b"") -> bytes:
    """A 64-bit ELF file with no more than its dynamic section and GPU code."""
    strings, dynamic = b"\0", b""
    for name in needed:
        dynamic += struct.pack("<QQ", 1, len(strings))  # DT_NEEDED
        strings += name.encode() + b"\0"
    dynamic += struct.pack("<QQ", 0, 0)
    names = b"\0.dynstr\0.dynamic\0.nv_fatbin\0.shstrtab\0"
    sections = [(".dynstr", 3, strings, 0), (".dynamic", 6, dynamic, 1), (".nv_fatbin", 1, fatbin, 0)]
    sections.append((".shstrtab", 3, names, 0))
    body, headers = b"", struct.pack("<IIQQQQIIQQ", *[0] * 10)
    for name, kind, content, link in sections:
        place = names.index(name.encode() + b"\0")
        size = 16 if kind == 6 else 0
        headers += struct.pack("<IIQQQQIIQQ", place, kind, 0, 0, 64 + len(body), len(content), link, 0, 1, size)
        body += content
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    return (
        struct.pack("<16sHHIQQQIHHHHHH", identity, 3, 62, 1, 0, 0, 64 + len(body), 0, 64, 56, 0, 64, 5, 4)
        + body
        + headers
    )
