"""What a shared library needs of CUDA, and for which GPUs it holds code: read from its ELF sections, never loaded."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# The section that nvcc puts GPU code in; __nv_relfatbin is that of code linked on the device.
FATBIN_SECTIONS = (".nv_fatbin", "__nv_relfatbin")
# Such a section is a row of containers, each with entries of one architecture. NVIDIA publishes no description: the
# layout was seen in the wheels of vLLM 0.19.1 and torch 2.10 (CUDA 12.8), and agrees with LLVM's and cuobjdump's.
CONTAINER = struct.Struct("<IHHQ")  # magic, version, size of this header, size of the entries
ENTRY = struct.Struct("<HHIQ12xI")  # kind, version, size of this header, size of the code, then the architecture
MAGIC = 0xBA55ED50
ALIGNMENT = 8  # of a container
KINDS = {1: "compute", 2: "sm"}  # PTX, which the driver compiles for a newer card; machine code
# What stands in every library that has to do with CUDA.
TRACES = (b".nv_fatbin", b"libcu", b"libnv", b"libnccl")


@dataclass(frozen=True)
class Library:
    """A shared library in a wheel. `needed`: DT_NEEDED; `code`: as `sm_75`, or `compute_80` for PTX; both sorted."""

    path: str
    needed: tuple[str, ...]
    code: tuple[str, ...]


def read_library(path: str, content: bytes) -> Library | None:
    """None where `content` is no shared library, or has nothing to do with CUDA."""
    if not content.startswith(b"\x7fELF") or not any(trace in content for trace in TRACES):
        return None
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    needed, code = set(), set()
    try:
        elf = ELFFile(io.BytesIO(content))
        for section in elf.iter_sections():
            if section["sh_type"] == "SHT_DYNAMIC":
                needed |= {tag.needed for tag in section.iter_tags("DT_NEEDED")}
            elif section.name in FATBIN_SECTIONS:
                start = section["sh_offset"]
                code |= set(architectures(memoryview(content)[start : start + section["sh_size"]]))
    except ELFError:
        return None
    return Library(path, tuple(sorted(needed)), tuple(sorted(code, key=_by_number)))


def architectures(section: memoryview | bytes) -> Iterator[str]:
    """The architecture of each entry of a section of fat binaries."""
    position = 0
    while position + CONTAINER.size <= len(section):
        magic, _, header, size = CONTAINER.unpack_from(section, position)
        if magic != MAGIC:
            position += ALIGNMENT
            continue
        entry, end = position + header, min(position + header + size, len(section))
        while entry + ENTRY.size <= end:
            kind, _, head, length, architecture = ENTRY.unpack_from(section, entry)
            if kind in KINDS:
                yield f"{KINDS[kind]}_{architecture}"
            entry += max(head + length, ENTRY.size)
        position = max(end, position + CONTAINER.size)


def runs_on(code: tuple[str, ...], capability: str) -> bool:
    """Whether one of `code` runs on a card of this compute capability, such as 7.5.

    Machine code runs within its major version on the same or a later minor one, PTX on every later card
    (CUDA C++ Programming Guide, Compute Capabilities and Just-in-Time Compilation).
    """
    card = int(capability.replace(".", ""))
    for each in code:
        kind, number = each.split("_")
        if int(number) <= card and (kind == "compute" or int(number) // 10 == card // 10):
            return True
    return False


def _by_number(code: str) -> tuple[str, int]:
    kind, number = code.split("_")
    return kind, int(number)
