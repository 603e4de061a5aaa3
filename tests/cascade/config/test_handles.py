"""Where a Kaggle handle is found, in every layout seen, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.base import runtime
from cascade.base.errors import ModelError
from cascade.config import handles, parts
from cascade.models import locate
from tests.refusals import refused

MODEL = "kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"
DATA = "dataset:ann/adapters"


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kaggle's input folder, `MODELS` and kagglehub's cache, all of the test's own."""
    monkeypatch.setattr(runtime, "INPUT", tmp_path / "input")
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


@pytest.mark.parametrize(
    ("handle", "layout"),
    [
        ("kaggle:Google/Gemma/PyTorch/2b-it/01", "input/gemma/pytorch/2b-it/1"),
        ("kaggle:google/gemma/Transformers/2B-it/1", "input/models/google/gemma/transformers/2b-it/1"),
        ("kaggle:google/gemma/pytorch/2b-it/1", "cache/models/google/gemma/pyTorch/2b-it/1"),
        ("kaggle:google/gemma/py-torch/2b-it/1", "models-of-mine/Gemma/PyTorch/2B-it/1"),
        ("dataset:Ann/Adapters/Deep", "input/datasets/ann/adapters/Deep"),
        ("dataset:ann/adapters/Deep", "cache/datasets/Ann/adapters/versions/3/Deep"),
    ],
)
def test_a_handle_is_found_by_any_spelling_of_its_capitals(roots: Path, handle: str, layout: str) -> None:
    folder = roots / layout
    folder.mkdir(parents=True)
    assert handles.find(handle) == folder


def test_inside_a_dataset_capitals_count_as_they_do_in_the_kernel(roots: Path) -> None:
    (roots / "input" / "adapters" / "Deep").mkdir(parents=True)
    with pytest.raises(ModelError, match="not found"):
        handles.find(f"{DATA}/deep")


def test_a_config_holds_the_normal_form_of_a_handle_and_other_names_as_they_are() -> None:
    for text, held in (
        ("kaggle:Qwen-lm/Qwen2.5/Transformers/32B/01/", "kaggle:qwen-lm/qwen2.5/transformers/32b/1"),
        ("dataset:Ann/Adapters/Deep", "dataset:ann/adapters/Deep"),
        ("kaggle:nothing", "kaggle:nothing"),
        ("../Models/Tiny", "../Models/Tiny"),
    ):
        assert parts.Encoder(model=text).model == held


@pytest.mark.parametrize(
    ("ours", "kaggles"),
    [
        ("google/gemma/pytorch/2b-it/1", "google/Gemma/PyTorch/2b-it/1"),
        ("google/gemma/pytorch/2b-it/1", "/models/google/gemma/py-torch/2b-it/versions/1"),
        ("ann/adapters", "https://www.kaggle.com/datasets/Ann/adapters/versions/3"),
        ("ann/adapters", "/ann/adapters/"),
        ("MABe-mouse", "/c/mabe-mouse"),
    ],
)
def test_what_kaggle_calls_a_source_is_compared_in_one_form(ours: str, kaggles: str) -> None:
    assert handles.source(ours) == handles.source(kaggles)
    assert handles.source(ours) not in (handles.source(f"n{kaggles}"), handles.source(f"{ours}0"))


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
    assert str(caught.value) == f"model '{handle}': is not a handle; write it as {mend}"


def test_a_version_of_a_dataset_is_refused_as_a_kernel_reads_the_newest() -> None:
    handle = f"{DATA}/versions/3/deep"
    with refused(ModelError, "names a version", key=f"model '{handle}'", mend="remove '/versions/3'"):
        handles.find(handle)


@pytest.mark.parametrize("handle", [MODEL, DATA])
def test_what_is_not_there_is_named_with_the_places_looked_at(roots: Path, handle: str) -> None:
    with refused(ModelError, "not found (", key=f"model '{handle}'", mend="set MODELS to a folder") as caught:
        handles.find(handle)
    for place in (roots / "input", roots / "models-of-mine"):
        assert str(place) in caught.value.what


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
        locate.model_path(MODEL, roots)
    (folder / "config.json").write_text("{}")
    assert locate.model_path(MODEL, roots) == folder
