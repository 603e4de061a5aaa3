"""The libraries that do the work on the GPU hold code for the image's cards."""

from __future__ import annotations

from fnmatch import fnmatch

from packer.proofs.elf import runs_on
from packer.proofs.subject import Finding, Subject

# The others of these wheels are for newer cards by design (FlashAttention 2 wants 8.0, 3 and FlashMLA 9.0), and are
# passed over at run time.
WORKING = {
    "bitsandbytes": ("bitsandbytes/libbitsandbytes_cuda{cuda}.so",),
    "torch": ("torch/lib/libtorch_cuda.so",),
    # Parts of them, in 0.33.0 all, are built for torch's stable ABI, under longer names: _C_stable_libtorch.abi3.so.
    "vllm": ("vllm/_C[._]*so", "vllm/_moe_C[._]*so"),
}


def prove(bundle: Subject) -> list[Finding]:
    image = bundle.image
    if image.capability is None or image.cuda is None:
        return []
    if not WORKING.keys() & bundle.wheels.keys():  # what asks for them finds them missing; nothing is shown here
        names = ", ".join(WORKING)
        mend = f"make wheels IMAGE={image.name}"
        return [Finding("wheels", f"none of {names} is installed to be checked", mend, status="not proved")]
    found = []
    for name, patterns in WORKING.items():
        facts = bundle.wheels.get(name)
        for pattern in patterns if facts is not None else ():
            assert facts is not None
            pattern = pattern.format(cuda=image.cuda.replace(".", ""))
            code = [library for library in facts.libraries if fnmatch(library.path, pattern) and library.code]
            wants = None
            if not code:
                wants = f"{facts.file} has no {pattern} with GPU code: is it built for the CPU, or for another CUDA?"
            for library in code:
                if not runs_on(library.code, image.capability):
                    wants = f"{library.path} has code for {' '.join(library.code)}, none for {image.capability}"
            if wants is not None:
                mend = f"pin a version that still has it in {image.requirements}, or correct capability in {image.path}"
                found.append(Finding(name, wants, mend, bundle.chains(name)))
    return found
