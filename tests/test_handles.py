"""Where a Kaggle handle is found, in every layout seen, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade import handles, models
from cascade.errors import ModelError

MODEL = "kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"
DATA = "dataset:ann/adapters"


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kaggle's input folder, `MODELS` and kagglehub's cache, all of the test's own."""
    monkeypatch.setattr(handles, "INPUT", tmp_path / "input")
    monkeypatch.setenv("MODELS", str(tmp_path / "models-of-mine"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


LAYOUTS = [
    (MODEL, "qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"),
    (MODEL, "qwen2.5/transformers/32b-instruct-awq/1"),
    (MODEL, "models/qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"),
    (MODEL, "models/qwen2.5/transformers/32b-instruct-awq/1"),
    (DATA, "ann/adapters"),
    (DATA, "adapters"),
    (DATA, "datasets/ann/adapters"),
    (DATA, "datasets/adapters"),
    (f"{DATA}/deep/er", "adapters/deep/er"),
    (f"{DATA}/deep/er", "datasets/ann/adapters/deep/er"),
]


@pytest.mark.parametrize("root", ["input", "models-of-mine"])
@pytest.mark.parametrize(("handle", "layout"), LAYOUTS)
def test_a_handle_is_found_in_every_layout(roots: Path, root: str, handle: str, layout: str) -> None:
    folder = roots / root / layout
    folder.mkdir(parents=True)
    assert handles.find(handle) == folder
    assert handles.find(f"{handle}/") == folder


@pytest.mark.parametrize(
    ("handle", "layout"),
    [
        (MODEL, "models/qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"),
        (DATA, "datasets/ann/adapters/versions/3"),
        (f"{DATA}/deep", "datasets/ann/adapters/versions/3/deep"),
    ],
)
def test_a_handle_is_found_in_the_cache_of_kagglehub(roots: Path, handle: str, layout: str) -> None:
    folder = roots / "cache" / layout
    folder.mkdir(parents=True)
    assert handles.find(handle) == folder


def test_the_newest_version_of_a_dataset_is_taken_by_number(roots: Path) -> None:
    versions = roots / "cache" / "datasets" / "ann" / "adapters" / "versions"
    for name in ("9", "10", "2", "10.complete", "latest"):
        (versions / name).mkdir(parents=True)
    assert handles.find(DATA) == versions / "10"


def test_another_version_of_a_model_is_not_the_model(roots: Path) -> None:
    (roots / "input" / "qwen2.5" / "transformers" / "32b-instruct-awq" / "2").mkdir(parents=True)
    with pytest.raises(ModelError, match="not found"):
        handles.find(MODEL)


def test_the_input_of_the_kernel_goes_before_all_else(roots: Path) -> None:
    folders = [roots / root / "models" / MODEL.partition(":")[2] for root in ("cache", "models-of-mine", "input")]
    for folder in folders:
        folder.mkdir(parents=True)
        assert handles.find(MODEL) == folder


def test_the_cache_lies_in_the_home_folder_where_nothing_else_is_said(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLEHUB_CACHE")
    monkeypatch.setenv("HOME", str(roots / "home"))
    folder = roots / "home" / ".cache" / "kagglehub" / "models" / MODEL.partition(":")[2]
    folder.mkdir(parents=True)
    assert handles.find(MODEL) == folder


def test_a_file_is_not_the_folder(roots: Path) -> None:
    (roots / "input").mkdir()
    (roots / "input" / "adapters").write_text("")
    with pytest.raises(ModelError, match="not found"):
        handles.find(DATA)


@pytest.mark.parametrize(
    ("handle", "mend"),
    [
        ("kaggle:qwen-lm/qwen2.5", "kaggle:owner/model/framework/variation/version"),
        ("kaggle:", "kaggle:owner/model/framework/variation/version"),
        (f"{MODEL}/config.json", "kaggle:owner/model/framework/variation/version"),
        ("dataset:adapters", "dataset:owner/slug, or dataset:owner/slug/folder"),
        ("dataset:adapters/", "dataset:owner/slug, or dataset:owner/slug/folder"),
    ],
)
def test_a_handle_that_is_none_is_refused(handle: str, mend: str) -> None:
    with pytest.raises(ModelError) as caught:
        handles.find(handle)
    assert str(caught.value) == f"model '{handle}': is no handle; write it as {mend}"


@pytest.mark.parametrize("handle", [MODEL, DATA])
def test_what_is_not_there_is_named_with_the_places_looked_at(roots: Path, handle: str) -> None:
    with pytest.raises(ModelError) as caught:
        handles.find(handle)
    message = str(caught.value)
    assert message.startswith(f"model '{handle}': not found (")
    for place in (roots / "input", roots / "models-of-mine"):
        assert str(place) in message
    assert "add it to the kernel's inputs or, elsewhere, set MODELS to a folder" in message


def test_without_models_the_working_folder_is_not_searched(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "")
    monkeypatch.chdir(roots)
    (roots / "adapters").mkdir()
    with pytest.raises(ModelError, match="not found"):
        handles.find(DATA)


def test_a_config_may_name_a_model_by_its_handle(roots: Path) -> None:
    folder = roots / "input" / "qwen2.5" / "transformers" / "32b-instruct-awq" / "1"
    folder.mkdir(parents=True)
    with pytest.raises(ModelError, match=r"has no config\.json"):
        models.model_path(MODEL, roots)
    (folder / "config.json").write_text("{}")
    assert models.model_path(MODEL, roots) == folder
