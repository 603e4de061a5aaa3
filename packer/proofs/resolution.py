"""uv, asked to resolve from the folder alone, agrees: a second opinion on the closure, by what will install it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from packer.proofs.subject import Finding, Subject


def prove(bundle: Subject) -> list[Finding]:
    image = bundle.image
    if not bundle.facts:
        return [Finding("all", f"{image.wheels} contains no wheel", f"make wheels IMAGE={image.name}")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}  # other folders
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "resolved.txt"
        done = subprocess.run(_command(bundle, Path(temporary), out), env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            said = " ".join(done.stderr.replace("╰─▶", "").replace("hint:", "").split())
            if "has invalid metadata" in said:  # the kernel's uv takes the lock's wheels without reading it
                mend = "pin a version whose METADATA uv can read"
                return [Finding("uv", f"resolves nothing from the folder: {said}", mend, status="not proved")]
            return [Finding("uv", f"resolves nothing from the folder: {said}", f"make wheels IMAGE={image.name}")]
        resolved = [Requirement(line) for line in out.read_text(encoding="utf-8").splitlines()]
    mend = f"lock again: make wheels IMAGE={image.name}"
    return [
        Finding(name, f"uv resolves {each}, but the lock has {pin or 'no such package'}", mend, bundle.chains(name))
        for each in resolved
        for name, pin in [(canonicalize_name(each.name), bundle.pins.get(canonicalize_name(each.name)))]
        if pin is None or not each.specifier.contains(pin.version, prereleases=True)
    ]


def _command(bundle: Subject, temporary: Path, out: Path) -> list[str]:
    image = bundle.image
    return [
        *(sys.executable, "-m", "uv", "pip", "compile", "--offline", "--no-index", "--no-config", "--quiet"),
        *("--find-links", str(image.wheels), "--only-binary", ":all:", "--no-header", "--no-annotate"),
        # Or uv looks for the image's Python on this machine, which it does not need.
        *("--python", sys.executable, "--python-version", image.python, "--python-platform", image.uv_platform),
        *("--cache-dir", str(temporary / "cache"), "--output-file", str(out)),
        *(argument for extra in image.extras for argument in ("--extra", extra)),
        *(str(image.project), str(image.requirements)),
    ]
