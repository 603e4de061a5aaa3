"""Every wheel is built for the image: its interpreter, ABI and glibc, by the tags in its name and Requires-Python."""

from __future__ import annotations

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import parse_wheel_filename

from packer.proofs.subject import Finding, Subject


def prove(bundle: Subject) -> list[Finding]:
    image, fitting, found = bundle.image, set(bundle.image.tags()), []
    fits = f"{image.abi} on {image.machine} with glibc {image.glibc}"
    mend = f"make wheels IMAGE={image.name}, or pin a version that has a wheel for {fits}"
    for facts in bundle.facts:
        if facts.broken:
            continue
        tags = parse_wheel_filename(facts.file)[3]
        if not tags & fitting:
            found.append(Finding(facts.name, f"{facts.file} does not match {fits}", mend, bundle.chains(facts.name)))
        elif not _python_fits(facts.requires_python, image.python):
            wants = f"{facts.file} requires Python {facts.requires_python}, but the image has {image.python}"
            found.append(Finding(facts.name, wants, mend, bundle.chains(facts.name)))
    return found


def _python_fits(wanted: str, python: str) -> bool:
    try:
        return not wanted or SpecifierSet(wanted).contains(python)
    except InvalidSpecifier:
        return True  # as pip: an old package's slip excludes nothing
