"""Every requirement of the project, and of every wheel it leads to, is met by a wheel that the lock names."""

from __future__ import annotations

from packer.bundle import Asked, Bundle, Finding


def prove(bundle: Bundle) -> list[Finding]:
    return [finding for asked in bundle.asked.values() if (finding := _unmet(bundle, asked)) is not None]


def _unmet(bundle: Bundle, asked: list[Asked]) -> Finding | None:
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
            return Finding(name, f"{_wanted(each)} is wanted, but {wheel.version} is there", mend, (chain,))
    return None


def _wanted(asked: Asked) -> str:
    return f"{asked.name}{asked.requirement.specifier}"
