"""Every requirement of the project, and of every wheel it leads to, is met by a wheel that the lock names."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.markers import InvalidMarker, Marker

from packer.proofs.subject import Asked, Finding, Subject, readable


def prove(bundle: Subject) -> list[Finding]:
    unmet = [finding for asked in bundle.asked.values() if (finding := _unmet(bundle, asked)) is not None]
    return [*unmet, *_unreadable(bundle)]


def _unreadable(bundle: Subject) -> Iterator[Finding]:
    """Requirements of wheels that are none, as `PyYAML (>=5.1.*)` of omegaconf 2.0.6: the rest is proved without."""
    for name, asked in bundle.asked.items():
        wheel = bundle.wheels.get(name)
        extras = {"", *(extra for each in asked for extra in each.requirement.extras)}
        for line in (each for each in (wheel.requires if wheel is not None else ()) if not readable(each)):
            wants = f"'{line}' in the METADATA of {wheel} is not a valid requirement"
            if _holds(bundle, line, extras):
                mend = f"pin a version of {name} whose METADATA can be read, or check yourself that it is met"
                yield Finding(name, wants, mend, bundle.chains(name), "not proved")
            else:
                yield Finding(name, f"{wants}; nothing requires it here", "", bundle.chains(name), "note")


def _holds(bundle: Subject, line: str, extras: set[str]) -> bool:
    try:
        marker = Marker(line.partition(";")[2])
    except InvalidMarker:  # none, or unreadable too: it is asked for
        return True
    return any(marker.evaluate({**bundle.image.markers(), "extra": extra}) for extra in extras)


def _unmet(bundle: Subject, asked: list[Asked]) -> Finding | None:
    name = asked[0].name
    wheel, pin = bundle.wheels.get(name), bundle.pins.get(name)
    if wheel is None or pin is None:
        where = f"wheel in {bundle.image.wheels}" if wheel is None else f"line in {bundle.image.lock}"
        wanted = ", ".join(dict.fromkeys(_wanted(each) for each in asked))
        mend = f"lock and fetch: make wheels IMAGE={bundle.image.name}"
        return Finding(name, f"{wanted} has no {where}", mend, bundle.chains(name))
    for each in asked:
        if each.requirement.url is None and not each.requirement.specifier.contains(wheel.version, prereleases=True):
            mend = f"lock again: make wheels IMAGE={bundle.image.name}"
            chain = " → ".join([*each.chain, name])
            return Finding(name, f"{_wanted(each)} is required, but the wheel is {wheel.version}", mend, (chain,))
    return None


def _wanted(asked: Asked) -> str:
    return f"{asked.name}{asked.requirement.specifier}"
