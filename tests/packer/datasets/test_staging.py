"""What is uploaded: the same bytes for the same input, whole, within Kaggle's rules, without a secret in it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cascade.base import manifest, runtime
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.models import adapters, locate
from packer.__main__ import pack
from packer.datasets import staging
from packer.datasets.adapters import AdapterError
from packer.datasets.contents import ContentsError
from packer.datasets.project_wheel import ProjectWheelError
from packer.datasets.rules import DatasetError
from packer.datasets.secrets import SecretError
from packer.datasets.staging import StagingError
from packer.wheels import images
from packer.wheels.images import Image
from packer.wheels.locks import LockError
from tests.nano import check_run
from tests.packing import IMAGE, WHEELS, make_project, tree
from tests.refusals import refused

CONFIG = Path("configs/tiny-llm.toml")
TOKEN = "KGAT_" + "0f" * 16  # put together here, so that no scanner takes it for one


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole project, under no git, as the current folder."""
    made = make_project(tmp_path / "project")
    monkeypatch.chdir(made)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return made


def loaded(config: Path = CONFIG) -> tuple[Config, Image]:
    locate.model_path.cache_clear()
    return configs.load(config), images.load(IMAGE)


def stage(kind: str, config: Path = CONFIG, out: Path = staging.OUT) -> Path:
    return staging.stage(kind, *loaded(config), out)


def git(*words: str) -> str:
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("kind", manifest.KINDS)
def test_the_same_input_makes_the_same_bytes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    first = tree(stage(kind))
    other = shutil.copytree(project, tmp_path / "elsewhere" / "other")
    for path in other.rglob("*"):
        os.utime(path, (0, 0))
        if path.is_file():
            path.chmod(0o600)
    monkeypatch.chdir(other)
    umask = os.umask(0o077)
    try:
        assert tree(stage(kind, out=tmp_path / "out")) == first
    finally:
        os.umask(umask)


@pytest.mark.usefixtures("project")
def test_the_kernel_finds_everything_that_a_config_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "input"
    packed = staging.pack(*loaded(), out)
    assert [told.kind for _, told in packed] == ["code", "wheels", "adapters"]
    for folder, told in packed:
        assert manifest.problems(folder, hashed=True) == []
        assert set(told.files) | {manifest.FILE} == set(tree(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "INPUT", out)
    code = manifest.find(out, "code")[0]
    told = manifest.read(code)
    config, _ = configs.load(code / told.about["config"]), locate.model_path.cache_clear()
    check_run(config)
    for model in config.language_models().values():
        assert locate.model_path(model.model, config.path.parent).is_relative_to(code)
        assert (config.path.parent / model.prompt).is_file()
        if model.adapter:
            assert adapters.adapter_path(model, config) == manifest.find(out, "adapters")[0] / model.adapter


@pytest.mark.usefixtures("project")
def test_a_config_without_adapters_needs_no_dataset_of_them() -> None:
    text = Path("configs/sample.toml").read_text()
    Path("configs/bare.toml").write_text("\n".join(line for line in text.splitlines() if "adapter = " not in line))
    packed = staging.pack(*loaded(Path("configs/bare.toml")))
    assert [told.kind for _, told in packed] == ["code", "wheels"]


def test_the_wheel_is_imported_as_it_lies_there(project: Path, tmp_path: Path) -> None:
    """By the image's own Python, for submission zero, before anything is installed."""
    code = stage("code").resolve()
    wheel = code / manifest.read(code).about["wheel"]
    line = (
        f"import sys; sys.path.insert(0, {str(wheel)!r}); from cascade.stages import baseline; print(baseline.__file__)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{wheel}/cascade/stages/baseline.py"
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == {f"cascade/{name}" for name in tree(project / "cascade")}


def test_large_files_are_links_and_what_people_edit_is_not(project: Path) -> None:
    def is_link(kind: str, name: str, source: str) -> bool:
        return (stage(kind) / name).stat().st_ino == (project / source).stat().st_ino

    assert is_link("wheels", f"wheels/{WHEELS['one']}", f"wheels/{IMAGE}/{WHEELS['one']}")
    weights = "tiny-listwise/adapter_model.safetensors"
    assert is_link("adapters", weights, f"sample/adapters/{weights}")
    assert is_link("code", "sample/models/tiny-qwen2/model.safetensors", "sample/models/tiny-qwen2/model.safetensors")
    assert not is_link("code", "configs/tiny-llm.toml", "configs/tiny-llm.toml")
    assert not is_link("code", "notebooks/rerank.ipynb", "notebooks/rerank.ipynb")


@pytest.mark.usefixtures("project")
def test_where_no_hard_link_can_lead_files_are_copied_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    linked = tree(stage("adapters"))
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert tree(stage("adapters")) == linked
    assert "copied, as hard links cannot lead there; keep build/ on the same file system" in capsys.readouterr().out


def test_a_linked_adapter_is_packed_as_the_file_it_leads_to(project: Path, tmp_path: Path) -> None:
    weights = project / "sample/adapters/tiny-listwise/adapter_model.safetensors"
    elsewhere = weights.rename(tmp_path / "blob")
    weights.symlink_to(elsewhere)
    staged = stage("adapters") / "tiny-listwise" / weights.name
    assert not staged.is_symlink()
    assert staged.stat().st_ino == elsewhere.stat().st_ino


def test_trainers_leavings_do_not_travel(project: Path) -> None:
    (project / "sample/adapters/tiny-listwise/optimizer.state").write_bytes(b"1")
    assert not any("optimizer" in name for name in tree(stage("adapters")))


def test_what_other_programs_leave_does_not_travel(project: Path) -> None:
    places = (f"wheels/{IMAGE}", "notebooks", "configs/prompts", "sample/models/tiny-qwen2")
    for place in places:
        for name in (".DS_Store", "._x.whl", "._x.ipynb", "._x.txt"):
            (project / place / name).write_bytes(b"\0")
    for kind in ("code", "wheels"):
        assert not [name for name in tree(stage(kind)) if name.rpartition("/")[2].startswith(".")]


def test_what_is_not_packed_of_the_code_is_not_compared(project: Path) -> None:
    (project / "cascade/.ipynb_checkpoints").mkdir()
    strays = (".DS_Store", "fusion.py~", ".fusion.py.swp", ".ipynb_checkpoints/fusion-checkpoint.py")

    def litter() -> None:
        for name in strays:
            (project / "cascade" / name).write_text("x")

    litter()
    told = manifest.read(stage("code"))
    assert staging.stale("code", told, *loaded()) is None
    for name in strays:
        (project / "cascade" / name).unlink()
    assert staging.stale("code", told, *loaded()) is None
    litter()
    assert staging.stale("code", told, *loaded()) is None
    (project / "configs/scratch.toml").write_text("x = 1\n")
    older = replace(told, files={**told.files, "configs/scratch.toml": next(iter(told.files.values()))})
    assert "contains configs/scratch.toml, which would not be uploaded; run: make pack" in str(
        staging.stale("code", older, *loaded())
    )
    (project / "cascade/rankings/fusion.py").write_text("changed = 1\n")
    assert "cascade/rankings/fusion.py has changed since it was staged" in str(staging.stale("code", told, *loaded()))


@pytest.mark.parametrize("own", ["notes.txt", "configs/mine.toml", "configs/tiny-llm.toml", "manifest.json"])
def test_a_person_s_file_in_a_staged_folder_is_refused_by_name(project: Path, own: str) -> None:
    target = stage("code")
    (target / ".DS_Store").write_text("a file browser's")
    assert stage("code") == target and not (target / ".DS_Store").exists()
    (target / own).write_text("mine")
    why = {"configs/tiny-llm.toml": "was changed since it was staged", "manifest.json": "not staged by this project"}
    with pytest.raises(StagingError, match=why.get(own, rf"{own}: was not staged")) as raised:
        stage("code")
    assert str(target) in str(raised.value) and (target / own).read_text() == "mine"


@pytest.mark.usefixtures("project")
def test_a_folder_that_was_never_staged_is_refused_whatever_it_holds() -> None:
    target = staging.staged_folder("code", loaded()[1])
    target.mkdir(parents=True)
    stage("code")
    shutil.rmtree(target)
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(StagingError, match="exists, and was not staged by this project"):
        stage("code")
    assert (target / "mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("project")
def test_the_wheels_manifest_tells_what_machine_they_are_for() -> None:
    told = manifest.read(stage("wheels"))
    assert told.about == {
        "image": IMAGE, "python": "3.12.13", "abi": "cp312", "machine": "x86_64", "glibc": "2.35", "gpus": 2,
        "cuda": "12.8", "driver": "580.159.04", "capability": "7.5",
    }  # fmt: skip
    assert set(told.files) == {f"{IMAGE}.lock", *(f"wheels/{file}" for file in WHEELS.values())}


# Where it came from.


def test_the_commit_is_recorded_and_what_is_changed_beside_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".gitignore").write_text("build/\n*.egg-info/\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    clean = manifest.read(stage("adapters"))
    assert (clean.commit, clean.dirty) == (git("rev-parse", "HEAD"), False)
    assert capsys.readouterr().out == ""
    (project / "README.md").write_text("changed")
    dirty = manifest.read(stage("adapters"))
    assert dirty.dirty
    assert f"warning: 1 files have changed since commit {clean.commit[:9]}" in capsys.readouterr().out
    git("commit", "--quiet", "--all", "--message", "second")
    later = manifest.read(stage("adapters"))
    assert later.commit != clean.commit
    assert manifest.same(later, clean)


@pytest.mark.usefixtures("project")
def test_without_git_the_manifest_has_no_commit_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = manifest.read(stage("adapters"))
    assert (told.commit, told.dirty) == ("", False)
    assert "warning: no git commit to record" in capsys.readouterr().out
    monkeypatch.setenv("PATH", "")
    assert manifest.read(stage("adapters")) == told
    assert "warning: no git commit to record" in capsys.readouterr().out


def test_another_file_is_another_content(project: Path) -> None:
    before = manifest.read(stage("code"))
    with (project / "cascade" / "fusion.py").open("a") as file:
        file.write("# more\n")
    after = manifest.read(stage("code"))
    assert not manifest.same(before, after)
    changed = {name for name in after.files if after.files[name] != before.files[name]}
    assert changed == {after.about["wheel"]}


# Stopped before anything is staged.


def test_metadata_that_kaggle_refuses_stops_it(project: Path) -> None:
    path = project / "dataset-metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"title": "x" * 46}))
    with pytest.raises(DatasetError, match=r"title: 'x+ code' has 51 characters"):
        stage("code")
    assert not Path("build").exists()


def test_a_wheel_with_a_plus_stops_before_anything_is_staged(project: Path) -> None:
    (project / "wheels" / IMAGE / "torch-2.9.0+cpu-cp312-cp312-linux_x86_64.whl").touch()
    with pytest.raises(DatasetError, match=r"has '\+' in its name"):
        stage("wheels")
    assert list(Path("build/datasets").iterdir()) == []


@pytest.mark.parametrize(("config", "other"), [(CONFIG, "kaggle-t4x2"), (Path("configs/cpu.toml"), "kaggle-cpu")])
def test_a_lock_with_a_local_version_stops_a_pack_before_anything_is_looked_at(
    project: Path, config: Path, other: str
) -> None:
    lock = project / "wheels" / f"{IMAGE}.lock"
    lock.write_text(lock.read_text().replace("one==1.0", "one==1.0+cpu"))
    with pytest.raises(ContentsError, match=rf"one==1.0\+cpu has a local label, .*; use .*IMAGE={other}, or pin"):
        pack(config, IMAGE)
    assert not Path("build").exists()


def test_a_credential_beside_a_model_stops_it(project: Path) -> None:
    path = project / "sample" / "models" / "tiny-qwen2" / "README.md"
    path.write_text(TOKEN)
    with pytest.raises(SecretError, match=r"and would be uploaded as sample/models/tiny-qwen2/README\.md"):
        stage("code")
    assert list(Path("build/datasets").iterdir()) == []


def test_a_token_in_the_code_stops_it_before_it_is_in_the_wheel(project: Path) -> None:
    (project / "cascade" / "more.py").write_text(f"TOKEN = '{TOKEN}'\n")
    with pytest.raises(SecretError, match=r"cascade/more\.py: line 1: contains what looks like a Kaggle token"):
        stage("code")


# What is not there.


def test_without_wheels_make_wheels_is_the_mend(project: Path) -> None:
    folder = project / "wheels" / IMAGE
    (folder / WHEELS["one"]).unlink()
    with pytest.raises(
        ContentsError, match=r"has no wheel of one==1\.0, which is in its lock; .*make wheels IMAGE=tiny"
    ):
        stage("wheels")
    shutil.rmtree(folder)
    with refused(ContentsError, "has no wheels", "wheels/tiny", mend="make wheels IMAGE=tiny"):
        stage("wheels")
    folder.with_suffix(".lock").unlink()
    with refused(ContentsError, "no such lock", "tiny.lock", mend="make wheels IMAGE=tiny"):
        stage("wheels")


def test_wheels_that_the_lock_does_not_know_are_refused(project: Path) -> None:
    folder = project / "wheels" / IMAGE
    (folder / WHEELS["two"]).write_bytes(b"torn")
    with pytest.raises(ContentsError, match=r"two-2\.0-.*whl: its SHA-256 is not in wheels/tiny\.lock; fetch again"):
        stage("wheels")
    folder.with_suffix(".lock").write_text("one==1.0\n")
    with pytest.raises(LockError, match="has no sha256 hash"):
        stage("wheels")
    (folder / "sources.txt").write_text("x")
    with refused(ContentsError, "is not a wheel", "sources.txt", mend="remove it"):
        stage("wheels")


def test_a_build_tool_too_old_is_named(project: Path) -> None:
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace("setuptools>=77", "setuptools>=9999"))
    with pytest.raises(ProjectWheelError, match=r"setuptools is \d.*requires setuptools>=9999; run: .* -m pip install"):
        stage("code")


# Nothing half made.


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes; what a full disk does, without filling one."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk_leaves_what_was_there(project: Path) -> None:
    before = tree(stage("wheels"))
    with (project / "wheels" / f"{IMAGE}.lock").open("a") as file:
        file.write("# more\n" * 1000)
    with disk_full_at(5000), pytest.raises(StagingError, match=r"wheels-tiny: cannot be staged .*try again"):
        stage("wheels")
    assert tree(Path("build/datasets")) == {f"cascade-kernel-wheels-tiny/{name}": text for name, text in before.items()}


# The command.


def test_pack_says_what_it_staged_and_checks_the_adapters_first(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(Path("configs/sample.toml"), IMAGE)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"build/datasets/cascade-kernel-{kind}" for kind in ("code", f"wheels-{IMAGE}", "adapters")
    ]
    assert "2 files, 674.2 kB" in lines[2]
    (project / "sample/adapters/retriever-minilm/training_args.bin").write_bytes(b"pickled")
    shutil.rmtree(project / "build")
    with pytest.raises(AdapterError, match=r"training_args\.bin is pickled"):
        pack(Path("configs/sample.toml"), IMAGE)
    assert not (project / "build").exists()
