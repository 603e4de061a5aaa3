"""The T4's whole lock, resolved anew from the registry, and every proof on its wheels: `make test-slow`."""

from __future__ import annotations

import shutil

import pytest

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from packer.proofs import closure
from packer.proofs.registry import PROOFS
from packer.proofs.subject import Subject
from packer.proofs.wheel_metadata import gather
from packer.wheels import images, locks, resolve
from packer.wheels.images import Image

pytestmark = pytest.mark.slow
KEPT = images.load("kaggle-t4x2", ROOT / "wheels")


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image with a lock made from nothing, beside the wheels that `make wheels` brought."""
    project = tmp_path_factory.mktemp("resolved")
    (project / "wheels").mkdir()
    for path in (KEPT.project, KEPT.path, KEPT.requirements):
        shutil.copy(path, project / path.relative_to(ROOT))
    for name in ("cascade", "notebooks", "wheels/kaggle-t4x2"):
        (project / name).symlink_to(ROOT / name)
    image = images.load(KEPT.name, project / "wheels")
    assert resolve.lock(image)
    return image


def bundle(image: Image, without: str = "") -> Subject:
    if not any(KEPT.wheels.glob("*.whl")):
        pytest.skip("make wheels")
    memory = ROOT / "build" / "verify" / KEPT.name
    facts = [each for each in gather(image.wheels, memory) if each.name != without]
    pins = {name: pin for name, pin in locks.read(image.lock).items() if name != without}
    runs = [configs.load(ROOT / "configs" / name) for name in ("t4x2.toml", "t4x2-map2025.toml", "t4x2-smoke.toml")]
    return Subject(image, pins, facts, [], runs, memory)


def test_the_kept_lock_is_what_is_asked_and_what_the_registry_answers(resolved: Image) -> None:
    assert resolve.answers(KEPT)
    kept = {name: pin.version for name, pin in locks.read(KEPT.lock).items()}
    assert {name: pin.version for name, pin in locks.read(resolved.lock).items()} == kept
    assert len(kept) > 200


def test_every_proof_holds_on_the_wheels(resolved: Image) -> None:
    """But that the lock made anew has no hash of a wheel that was built here."""
    built = bundle(KEPT)
    failed = [found for prove in PROOFS.values() for found in prove(built) if found.status == "failed"]
    assert failed == []
    assert closure.prove(bundle(resolved)) == []


@pytest.mark.parametrize(
    ("package", "asker"), [("nvidia-cudnn-cu12", "torch 2.10.0"), ("xgrammar", "vllm 0.19.1"), ("uv", "the kernel")]
)
def test_a_package_that_is_gone_is_named_with_who_asked(package: str, asker: str) -> None:
    found = {each.package: each for each in closure.prove(bundle(KEPT, without=package))}
    assert any(f"{asker} → {package}" in chain for chain in found[package].asked_by)
