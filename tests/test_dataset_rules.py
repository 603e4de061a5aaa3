"""What Kaggle would refuse, or must never see, is refused before it is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.paths import ROOT
from packer import images, secrets
from packer.dataset_rules import DatasetError, DatasetMetadata, check_files, metadata
from packer.secrets import SecretError

IMAGE = images.load("kaggle-t4x2", ROOT / "wheels")


def test_each_dataset_continues_the_projects_own_metadata() -> None:
    made = [metadata(kind, IMAGE, ROOT / "dataset-metadata.json") for kind in ("code", "wheels", "adapters")]
    assert [each.slug for each in made] == [
        "cascade-kernel-code", "cascade-kernel-wheels-kaggle-t4x2", "cascade-kernel-adapters",
    ]  # fmt: skip
    assert made[1] == DatasetMetadata(
        slug="cascade-kernel-wheels-kaggle-t4x2",
        title="Cascade kernel wheels kaggle-t4x2",
        subtitle="What an offline Kaggle kernel runs: wheels kaggle-t4x2",
        licence="other",
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"title": "x" * 46}, r"title makes 'x+ code', which has 51 characters; Kaggle takes 6 to 50: shorten it"),
        ({"id": "x" * 46}, r"id makes 'x+-code', which has 51 characters; Kaggle takes 6 to 50: shorten it"),
        ({"id": "x", "title": "x" * 9, "subtitle": "x"}, r"subtitle makes 'x: code', which has 7 characters"),
        ({"title": " "}, "title is missing or no text; write it"),
        ({"subtitle": "short"}, r"subtitle makes 'short: code', which has 11 .* 20 to 80: lengthen it"),
        ({"subtitle": "x" * 75}, r"has 81 characters; Kaggle takes 20 to 80: shorten it"),
        ({"id": "ann/cascade"}, r"id 'ann/cascade' makes the slug .* without an owner"),
        ({"id": "Cascade_Kernel"}, "a-z, 0-9 and single hyphens"),
        ({"licenses": [{"name": "other"}, {"name": "CC0-1.0"}]}, "has 2 licenses; Kaggle takes exactly one: keep one"),
        ({"licenses": []}, "has 0 licenses; Kaggle takes exactly one"),
        ({"licenses": [{"name": "Apache-2.0"}]}, r"none that Kaggle knows \(did you mean 'apache-2.0'\?\)"),
        ({"licences": []}, r"unknown key 'licences' \(did you mean 'licenses'\?\)"),
    ],
)
def test_metadata_that_kaggle_refuses_is_refused_here(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    path = tmp_path / "dataset-metadata.json"
    path.write_text(json.dumps(json.loads((ROOT / path.name).read_text()) | keys))
    with pytest.raises(DatasetError, match=rf"dataset-metadata\.json: .*{message}"):
        metadata("code", IMAGE, path)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "holds no table of keys")])
def test_metadata_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DatasetError, match=f"{message}.*restore it"):
        metadata("code", IMAGE, tmp_path / "x.json")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({f"file-{number}": 1 for number in range(51)}, "51 files and folders at the top; Kaggle takes 50"),
        ({"a": 150 * 10**9, "b": 51 * 10**9}, r"201\.0 GB; Kaggle takes 200 GB .*the largest is a, 150\.0 GB"),
        ({"wheels/torch-2.9.0+cpu-cp312-cp312-linux_x86_64.whl": 1}, r"has '\+' in its name.*without a local label"),
        ({"models/a&b.json": 1}, r"models/a&b\.json has '&' in its name"),
        ({"models/été.json": 1}, "has 'é' in its name"),
        ({"../other/file": 1}, r"has '\.\.' in its name"),
        ({"models/data.tar.gz": 1}, "is an archive, which Kaggle would unpack"),
    ],
)
def test_files_that_kaggle_refuses_or_changes_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(DatasetError, match=f"^slug: .*{message}"):
        check_files("slug", sizes)


def test_a_folder_of_many_files_counts_once() -> None:
    check_files("slug", {f"wheels/file-{number}.whl": 1 for number in range(300)})


# Secrets. Put together here, so that no scanner takes this file for one that holds them.

TOKENS = [
    "KGAT_" + "0f" * 16,
    '{"username":"ann","key":"' + "a1" * 16 + '"}',
    "hf_" + "aB" * 17,
    "AKIA" + "ABCD1234" * 2,
    "ghp_" + "a1" * 18,
    "-----BEGIN OPENSSH PRIVATE " + "KEY-----",
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_in_a_text_is_refused_and_not_printed(tmp_path: Path, token: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(f"one\ntwo\n{token}\n")
    with pytest.raises(SecretError, match=r"notes\.txt: line 3 holds what looks like an? .*; remove it") as error:
        secrets.check({"notes.txt": path})
    assert token not in str(error.value)


def test_what_only_resembles_a_token_is_none(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text('KGAT_x hf_token AKIA "key": "value" task-specific-questions-about-numbers sk-learn BEGIN KEY')
    secrets.check({"notes.txt": path})
    path.write_bytes(b"\0" + TOKENS[0].encode())  # chance, in weights
    secrets.check({"notes.txt": path})


@pytest.mark.parametrize("name", ["kaggle.json", "access_token", ".env", "id_ed25519", "server.pem"])
def test_a_file_named_like_a_credential_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(SecretError, match=rf"{name}: looks like a credential by its name; move it away"):
        secrets.check({f"models/{name}": tmp_path / name})
