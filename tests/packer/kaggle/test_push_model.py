"""A model's folder becomes a private dataset of what loading it requires, whatever cuts the upload."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.config import handles
from packer import kaggle_commands
from packer.datasets import model_files, models, rules
from packer.datasets.rules import DatasetError
from packer.kaggle import datasets
from packer.kaggle import upload as uploads
from packer.kaggle.session import KaggleError, Session
from tests.kaggle_server import RefusalError
from tests.kaggle_server.datasets import LIST, START
from tests.refusals import refused

CHUNK = 1 << 20
LEFT = ("optimizer.pt", "pytorch_model.bin", "trainer_state.json", ".git/config")


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A model of two files of weights, with what training left beside it; the current folder is an empty one."""
    folder = tmp_path / "models" / "Tiny-Qwen2.5"
    shutil.copytree(ROOT / "sample" / "models" / "tiny-qwen2", folder)
    shard(folder)
    for name in LEFT:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("left")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(uploads, "CHUNK", CHUNK)
    return folder


def shard(folder):
    """Two files of weights and their index in place of one file."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    place = {}
    for number, half in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in half}, folder / file, {"format": "pt"})
        place |= dict.fromkeys(half, file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": place}))


def run(folder, **options):
    asked = {"slug": None, "licence": "other", "trust_remote_code": False, "replace": False} | options
    kaggle_commands.push_model(folder, **asked)


def test_what_loading_requires_arrives_private_and_the_config_s_line_finds_it(
    store, model, capsys, monkeypatch, tmp_path
):
    store.polls = 0
    run(model, licence="apache-2.0")
    told = capsys.readouterr()
    assert 'model = "dataset:ada/tiny-qwen2-5/Tiny-Qwen2.5"' in told.out.splitlines()
    assert "created" in told.out and all(name.partition("/")[0] in told.err for name in LEFT if name[0] != ".")
    about = store.held["ada/tiny-qwen2-5"].about
    assert about["isPrivate"] is True and about["licenseName"] == "apache-2.0" and about["title"] == "Tiny-Qwen2.5"
    for name, data in store.held["ada/tiny-qwen2-5"].versions[-1].files.items():
        path = tmp_path / "input" / "tiny-qwen2-5" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setenv("MODELS", str(tmp_path / "input"))
    found = handles.find("dataset:ada/tiny-qwen2-5/Tiny-Qwen2.5")
    expected = model_files.needed(model, trusted=False)
    assert "model-00002-of-00002.safetensors" in expected and not set(LEFT) & set(expected)
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        name: path.read_bytes() for name, path in expected.items()
    }


def test_a_second_run_reads_and_sends_nothing(server, store, model, capsys, monkeypatch):
    store.polls = 0
    run(model)
    monkeypatch.setattr(models.staging, "put", None)  # it would be made again
    received = sum(blob.received for blob in store.blobs.values())
    run(model)
    assert "unchanged" in capsys.readouterr().out
    assert sum(blob.received for blob in store.blobs.values()) == received
    monkeypatch.undo()


def test_weights_that_changed_are_a_new_version(store, model, capsys):
    store.polls = 0
    run(model)
    path = model / "tokenizer_config.json"
    path.write_text('{"model_max_length": 9}')  # in place, as an editor may
    run(model)
    assert "updated" in capsys.readouterr().out
    held = store.held["ada/tiny-qwen2-5"].versions
    assert [version.files["Tiny-Qwen2.5/tokenizer_config.json"] == path.read_bytes() for version in held] == [
        False,
        True,
    ]
    assert held[-1].notes == "Tiny-Qwen2.5"


def test_weights_that_a_download_replaced_are_a_new_version(store, model, capsys):
    store.polls = 0
    run(model)
    path = model / "model-00002-of-00002.safetensors"
    weights, before = bytearray(path.read_bytes()), path.stat().st_mtime_ns
    weights[-1] ^= 1
    path.unlink()
    path.write_bytes(weights)
    os.utime(path, ns=(before, before))  # it keeps the time that it had where it comes from
    run(model)
    assert "updated" in capsys.readouterr().out
    assert store.held["ada/tiny-qwen2-5"].versions[-1].files[f"Tiny-Qwen2.5/{path.name}"] == bytes(weights)


def test_another_model_of_that_name_does_not_take_its_place_unasked(store, model):
    store.polls = 0
    run(model)
    config = model / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 3}))
    with refused(DatasetError, "is another model", key="ada/tiny-qwen2-5", mend="SLUG=name"):
        run(model)
    assert len(store.held["ada/tiny-qwen2-5"].versions) == 1
    run(model, replace=True)
    assert len(store.held["ada/tiny-qwen2-5"].versions) == 2


def test_a_dataset_of_the_projects_own_is_no_place_for_a_model(store, model):
    staged = Path("build/datasets/cascade-kernel-code")
    staged.mkdir(parents=True)
    (staged / "manifest.json").write_bytes(told("x").replace(b'"kind": "model"', b'"kind": "code"'))
    with refused(DatasetError, "is this project's dataset of code", staged, mend="SLUG=name"):
        run(model, slug="cascade-kernel-code")
    assert [path.name for path in staged.iterdir()] == ["manifest.json"]


def test_twenty_cuts_end_complete_and_no_confirmed_byte_is_sent_again(store, model):
    drawn = random.Random(3)
    store.polls = 0
    store.cuts = [drawn.randrange(CHUNK) for _ in range(20)]
    runs = 0
    about = models.metadata(models.name_of(model), None, "other")
    while True:
        runs += 1
        assert runs < 30
        staged = models.stage(model, about, say=[].append)
        try:
            datasets.push(Session(patience=0, pause=0.01), staged, about)
            break
        except KaggleError as error:
            assert "cannot be reached" in str(error)
    assert not store.cuts and runs > 3
    assert [blob.name for blob in store.blobs.values() if blob.again] == []
    assert len(store.blobs) == len(datasets.staged_manifest(staged).files) + 1  # with the manifest: each begun once


def pickled(folder):
    for path in folder.glob("model*"):
        path.unlink()


def remote(folder):
    path = folder / "config.json"
    own = {"auto_map": {"AutoModel": "own.Own"}, "model_type": "x"}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))


def missing(folder):
    (folder / "model-00002-of-00002.safetensors").unlink()


def cut(folder):
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lone(folder):
    (folder / "model-00002-of-00002.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()


def no_index(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ["a"]}')


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def no_settings(folder):
    (folder / "config.json").write_text("[]")


def adapter(folder):
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("change", "what", "path", "mend"),
    [
        (pickled, "has pickled weights only (pytorch_model.bin)", "Tiny-Qwen2.5", "safetensors"),
        (remote, "requires code of its own", "Tiny-Qwen2.5", "TRUST=1"),
        (missing, "has no model-00002-of-00002.safetensors", "Tiny-Qwen2.5", "fetch the model again"),
        (cut, "cannot be read", "model-00002-of-00002.safetensors", "fetch the model again"),
        (lone, "has model-00001-of-00002.safetensors, a part", "Tiny-Qwen2.5", "fetch the model again"),
        (no_index, "is no index of weights", "model.safetensors.index.json", "fetch the model again"),
        (no_tokenizer, "has no tokenizer", "Tiny-Qwen2.5", "tokenizer.json"),
        (no_settings, "is no table of settings", "config.json", "fetch the model again"),
        (adapter, "is an adapter", "Tiny-Qwen2.5", "make pack"),
        (shutil.rmtree, "no such folder", "Tiny-Qwen2.5", "config.json"),
    ],
)
def test_a_model_that_would_not_load_or_is_not_safe_is_refused_before_it_is_staged(
    server, store, model, change, what, path, mend
):
    change(model)
    with refused(ModelError, what, path, mend=mend):
        run(model)
    assert not Path("build").exists() and not store.blobs


def test_a_models_own_code_travels_where_it_is_trusted(store, model):
    store.polls = 0
    remote(model)
    (model / "own.py").write_text("class Own: ...\n")
    run(model, trust_remote_code=True)
    assert "Tiny-Qwen2.5/own.py" in store.held["ada/tiny-qwen2-5"].versions[-1].files


def test_what_is_over_the_limit_of_a_dataset_is_refused(server, store, model, monkeypatch):
    monkeypatch.setattr(rules, "LARGEST", 10**6)
    with refused(DatasetError, "and Kaggle accepts", key="tiny-qwen2-5", mend="model-0000"):
        run(model)
    assert not store.blobs


@pytest.mark.parametrize(
    ("held", "warns", "fits"),
    [
        ({"one": 100, "two": 60, "three": 39}, False, True),
        ({"one": 100, "two": 60, "three": 40}, False, False),
        ({"one": 100, "tiny-qwen2-5": 100}, True, True),
    ],
)
def test_a_full_account_is_told_before_the_first_byte(server, store, model, capsys, held, warns, fits):
    store.polls = 0
    for slug, size in held.items():
        store.put_version(f"ada/{slug}", {"manifest.json": told(slug)}, size=size * 10**9, isPrivate=True)
    if fits:
        run(model, replace=True)
        assert ("may not fit" in capsys.readouterr().err) == warns
    else:
        with refused(DatasetError, "other private datasets", key="ada/tiny-qwen2-5", mend="the largest is ada/one"):
            run(model)
        assert START not in server.methods()
    assert server.methods().count(LIST) == (len(held) + 1) // 2


def told(slug):
    return json.dumps({"kind": "model", "commit": "", "dirty": False, "files": {}, "about": {"model": slug}}).encode()


def test_a_list_that_does_not_end_stops_nothing(server, store, model, capsys, monkeypatch):
    store.polls = 0
    server.handlers[LIST] = lambda call: {"datasets": [], "nextPageToken": "again"}
    run(model)
    assert "does not end" in capsys.readouterr().err and server.methods().count(LIST) == 2


def test_a_kaggle_that_does_not_tell_the_sizes_stops_nothing(server, store, model, capsys):
    store.polls = 0
    server.faults[LIST] = [RefusalError(403, "no \x1b]52;c;aGk=\x07")]
    run(model)
    said = capsys.readouterr().err
    assert "is not known" in said and "\x1b]52" not in said and "ada/tiny-qwen2-5" in store.held


def test_a_snapshot_of_the_hubs_cache_has_its_repositorys_name(tmp_path):
    folder = tmp_path / "models--Qwen--Qwen2.5-0.5B" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    assert models.name_of(folder) == "Qwen2.5-0.5B"
    assert models.metadata("Qwen2.5-0.5B", None, "other").slug == "qwen2-5-0-5b"


@pytest.mark.parametrize(
    ("name", "slug", "licence", "key"),
    [
        ("1", None, "other", "id"),
        ("Tiny-Qwen", "Mine_Own", "other", "id"),
        ("Tiny-Qwen", None, "MIT", "licenses"),
        ("my model", "my-model", "other", ""),
    ],
)
def test_names_and_licences_that_kaggle_refuses_are_refused(name, slug, licence, key):
    with refused(DatasetError, path=f"model {name}", key=key):
        models.metadata(name, slug, licence)
