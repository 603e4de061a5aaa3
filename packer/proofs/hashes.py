"""The folder holds the lock's own wheels, whole, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from packer.proofs.subject import Finding, Subject

SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tgz")


def prove(bundle: Subject) -> list[Finding]:
    return [*_missing(bundle), *_unpinned(bundle), *_others(bundle), *_notes(bundle)]


def _missing(bundle: Subject) -> Iterator[Finding]:
    fetch = f"fetch it: make wheels IMAGE={bundle.image.name}"
    for name, pin in bundle.pins.items():
        found = [facts for facts in bundle.facts if facts.name == name]
        if any(facts.sha256 in pin.hashes and not facts.broken for facts in found):
            continue
        mend = fetch
        if not found:
            wants = f"{pin} is in {bundle.image.lock}, but has no wheel in {bundle.image.wheels}"
        elif broken := next((facts for facts in found if facts.broken), None):
            wants = f"{broken.file}: {broken.broken}"
            if broken.sha256 in pin.hashes:  # it came so
                mend = (
                    f"pin another version in {bundle.image.requirements}, then: make wheels IMAGE={bundle.image.name}"
                )
        else:
            wants = f"{found[0].file}: its SHA-256 {found[0].sha256[:16]}… is not in the lock for {pin}"
        yield Finding(name, wants, mend, bundle.chains(name))


def _unpinned(bundle: Subject) -> Iterator[Finding]:
    for facts in bundle.facts:
        pin = bundle.pins.get(facts.name)
        asked = bundle.chains(facts.name)
        if pin is None:
            mend = f"lock again: make wheels IMAGE={bundle.image.name}" if asked else "remove it"
            yield Finding(facts.name, f"{facts.file} is not in {bundle.image.lock}", mend, asked)
        elif (used := bundle.wheels.get(facts.name, facts)) != facts:  # the kernel takes uv's only one
            yield Finding(
                facts.name, f"{facts.file} is beside {used.file}, which is {pin} in the lock", "remove it", asked
            )


def _others(bundle: Subject) -> Iterator[Finding]:
    for path in bundle.others:
        if path.name.endswith(SDISTS):
            mend = f"the kernel cannot build it: build a wheel with make wheels IMAGE={bundle.image.name}, or remove it"
            yield Finding(path.name, f"{path} is an sdist, not a wheel", mend)
        else:
            yield Finding(path.name, f"{path} is not a wheel", "remove it")


def _notes(bundle: Subject) -> Iterator[Finding]:
    for facts in bundle.facts:
        for note in facts.notes:
            yield Finding(facts.name, f"{facts.file}: {note}; uv installs what the wheel contains", "", status="note")
