"""A machine of which only the cards are known is planned by another one's rates, scaled."""

from __future__ import annotations

from math import hypot
from pathlib import Path

import pytest

from cascade.base.errors import PlanError
from cascade.base.runtime import ROOT
from cascade.plan import profile as profiles
from tests.refusals import refused

SCALED = '[scaled]\ntoken = 0.5\nwritten = 0.25\nspread = 0.5\nsource = "a data sheet"\n'


def derived(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    (folder / "t4x2.toml").write_bytes((ROOT / "profiles" / "t4x2.toml").read_bytes())
    return path


def test_what_cards_do_is_scaled_and_nothing_else(tmp_path: Path) -> None:
    base = profiles.load(ROOT / "profiles" / "t4x2.toml")
    found = profiles.load(derived(tmp_path, f'base = "t4x2.toml"\n{SCALED}'))
    assert found.assumed == base.assumed and len(found.rate) == len(base.rate)
    kinds = set()
    for old, new in zip(base.rate, found.rate, strict=True):
        if old.kind in ("llm", "embedding", "cross-encoder"):
            kinds.add(old.kind)
            assert (new.token, new.prompt, new.written) == (old.token / 2, old.prompt / 2, old.written / 4)
            assert new.load == old.load and new.spread == hypot(old.spread, 0.5)
            assert new.source.startswith(old.source) and "a data sheet" in new.source
        else:
            assert new == old
    assert kinds >= {"llm", "embedding"}


@pytest.mark.parametrize("name", ["l4x4", "h100", "rtx6000"])
def test_newer_cards_are_planned_faster_and_less_surely(name: str) -> None:
    base, found = (profiles.load(ROOT / "profiles" / f"{each}.toml") for each in ("t4x2", name))
    for old, new in zip(base.rate, found.rate, strict=True):
        assert new.token <= old.token and new.written <= old.written and new.spread >= old.spread


@pytest.mark.parametrize(
    ("text", "what", "key"),
    [
        ('base = "mine.toml"\n' + SCALED, "'mine.toml' has a base itself", "base"),
        ('base = "t4x2.toml"\n' + SCALED.replace("0.25", "0"), "written is 0", "scaled"),
        ('base = "t4x2.toml"\ntokens = 1\n' + SCALED, "unknown key 'tokens'", ""),
    ],
)
def test_a_derived_profile_that_cannot_be_used_is_refused(tmp_path: Path, text: str, what: str, key: str) -> None:
    with refused(PlanError, what, "mine.toml", key=key):
        profiles.load(derived(tmp_path, text))


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    with refused(PlanError, "no such profile", "gone.toml", mend="h100, l4x4, rtx6000, t4x2"):
        profiles.load(derived(tmp_path, f'base = "gone.toml"\n{SCALED}'))
