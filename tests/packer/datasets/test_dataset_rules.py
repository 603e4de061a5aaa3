"""What Kaggle would refuse, or must never see, is refused before it is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from packer.datasets import secrets
from packer.datasets.rules import DatasetError, DatasetMetadata, check_files, metadata
from packer.datasets.secrets import SecretError
from packer.wheels import images
from tests.refusals import refused

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
        ({"title": "x" * 46}, r"title: 'x+ code' has 51 characters, and Kaggle accepts 6 to 50; shorten it"),
        ({"id": "x" * 46}, r"id: 'x+-code' has 51 characters, and Kaggle accepts 6 to 50; shorten it"),
        ({"id": "x", "title": "x" * 9, "subtitle": "x"}, r"subtitle: 'x: code' has 7 characters"),
        ({"title": " "}, "title: is missing or not text; write it"),
        ({"subtitle": "short"}, r"subtitle: 'short: code' has 11 .* 20 to 80; lengthen it"),
        ({"subtitle": "x" * 75}, r"has 81 characters, and Kaggle accepts 20 to 80; shorten it"),
        ({"id": "ann/cascade"}, r"id: 'ann/cascade' gives the slug .* without an owner"),
        ({"id": "Cascade_Kernel"}, "a-z, 0-9 and single hyphens"),
        (
            {"licenses": [{"name": "other"}, {"name": "CC0-1.0"}]},
            "licenses: has 2 entries, .* exactly one; keep one",
        ),
        ({"licenses": []}, "licenses: has 0 entries, and Kaggle accepts exactly one"),
        ({"licenses": [{"name": "Apache-2.0"}]}, r"not a licence that Kaggle knows \(did you mean 'apache-2.0'\?\)"),
        ({"licences": []}, r"unknown key 'licences' \(did you mean 'licenses'\?\)"),
    ],
)
def test_metadata_that_kaggle_refuses_is_refused_here(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    path = tmp_path / "dataset-metadata.json"
    path.write_text(json.dumps(json.loads((ROOT / path.name).read_text()) | keys))
    with pytest.raises(DatasetError, match=message) as error:
        metadata("code", IMAGE, path)
    assert error.value.path == path and error.value.mend


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "is not a JSON object")])
def test_metadata_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with refused(DatasetError, message, tmp_path / "x.json", mend="restore it"):
        metadata("code", IMAGE, tmp_path / "x.json")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({f"file-{number}": 1 for number in range(51)}, "51 files and folders at the top, and Kaggle accepts 50"),
        ({"a": 150 * 10**9, "b": 51 * 10**9}, r"201\.0 GB, and Kaggle accepts 200 GB .*the largest is a, 150\.0 GB"),
        ({"wheels/torch-2.9.0+cpu-cp312-cp312-linux_x86_64.whl": 1}, r"has '\+' in its name.*without a local label"),
        ({"wheels/odd-1!2.0-py3-none-any.whl": 1}, r"has '!' in its name.*pin a version without an epoch"),
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
    with pytest.raises(SecretError, match=r"notes\.txt: line 3: contains what looks like an? .*; remove it") as error:
        secrets.check({"notes.txt": path})
    assert token not in str(error.value)


def test_what_only_resembles_a_token_is_none(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text('KGAT_x hf_token AKIA "key": "value" task-specific-questions-about-numbers sk-learn BEGIN KEY')
    secrets.check({"notes.txt": path})
    path.write_bytes(b"\0" + TOKENS[0].encode())  # chance, in weights
    secrets.check({"notes.txt": path})


@pytest.mark.parametrize("name", ["kaggle.json", "access_token", ".env", "prod.env", "id_ed25519", "server.pem"])
def test_a_file_named_like_a_credential_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with refused(SecretError, "looks like a credential by its name", name, mend="move it away"):
        secrets.check({f"models/{name}": tmp_path / name})


DRAWN = "q7Xn2LpZ" + "a1a1aRt4Kd1"
NAMED = [
    ("x.txt", "KAGGLE_KEY=" + "a1" * 16, "KAGGLE_KEY"),
    ("x.toml", '[environment]\nKAGGLE_KEY = "swordfish"', "KAGGLE_KEY"),
    ("x.toml", 'environment = { DB_PASSWORD = "swordfish" }', "DB_PASSWORD"),
    ("x.ipynb", r'"os.environ[\"KAGGLE_KEY\"] = \"swordfish\"\n",', "KAGGLE_KEY"),
    ("x.ipynb", '"%env MY_TOKEN swordfish"', "MY_TOKEN"),
    ("x.py", 'WANDB_API_KEY = "swordfish"', "WANDB_API_KEY"),
    ("x.py", 'os.environ.setdefault("HF_TOKEN", "swordfish")', "HF_TOKEN"),
    ("x.json", '{"clientSecret": "swordfish"}', "clientSecret"),
    ("x.yaml", "db_password: swordfish", "db_password"),
    ("x.sh", "export SLACK_TOKEN=swordfish", "SLACK_TOKEN"),
    ("x.txt", "machine kaggle.com login ann password swordfish", "password"),
    ("x.txt", "https://user:password@host/path", "a login in an address"),
    ("x.ipynb", r'"os.environ[\"X_TOKEN\"] = sword2fish\n",', "X_TOKEN"),
    ("x.py", 'os.environ.update({"X_TOKEN": "swordfish"})', "X_TOKEN"),
    ("x.py", 'os.environ |= {"A": "b", "X_TOKEN": f"swordfish"}', "X_TOKEN"),
    ("x.py", 'run(command, env={"X_TOKEN": "swordfish"})', "X_TOKEN"),
    ("x.ipynb", '"%env X_TOKEN=swordfish"', "X_TOKEN"),
    ("x.ipynb", '"%set_env X_TOKEN swordfish"', "X_TOKEN"),
    ("x.ipynb", '"!export X_TOKEN=swordfish && run"', "X_TOKEN"),
    ("x.ipynb", '"!hf auth login --token swordfish"', "token"),
    ("x.ipynb", '"!hf auth login --token=swordfish"', "token"),
    ("x.py", 'run(["hf", "auth", "login", "--token", "swordfish1"])', "token"),
    ("x.py", 'login(token="swordfish")', "token"),
    ("x.py", f'wandb.login("{DRAWN}")', "what is given to a login"),
    ("x.ipynb", f'"!wandb login {DRAWN}"', "what is given to a login"),
    ("x.py", f'headers = {{"Authorization": f"Bearer {DRAWN}"}}', "what is given to a login"),
    ("x.ipynb", '"!curl -u ann:swordfish https://host"', "what is given to a login"),
    ("x.ipynb", '"!docker login -u ann -p swordfish"', "what is given to a login"),
]


@pytest.mark.parametrize(("file", "text", "called"), NAMED)
def test_a_value_called_a_secret_is_refused_by_its_name(tmp_path: Path, file: str, text: str, called: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(SecretError, match=rf"{file}: line \d: contains what looks like .*{called}, and would") as error:
        secrets.check({file: tmp_path / file})
    assert "swordfish" not in str(error.value)
    assert "a1a1" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_token_deep_in_a_large_text_is_found_at_its_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("a line\n" * 300_000 + TOKENS[0], encoding=encoding)
    with pytest.raises(SecretError, match="line 300001: contains what looks like a Kaggle token"):
        secrets.check({"notes.txt": path})


INNOCENT = """key = os.environ["KAGGLE_KEY"]
tokenizer = AutoTokenizer.from_pretrained(folder)
max_tokens = 5
pad_token = "<pad>"
"eos_token": "<|endoftext|>", "bos_token_id": 151643, "tokenizer_class": "Qwen2Tokenizer"
key = "value"
sort_key = "query_id"
KAGGLE_KEY = "…"
KAGGLE_KEY=$KAGGLE_KEY
def call(key: str, token: str = "") -> None:
"token": 1234, "password": 567, "secret": 99
The password: swordfish
SECRET_NAME = "KAGGLE_KEY"
["api_key", "password", "token"]
TOKENIZERS_PARALLELISM = "false"
"""
INNOCENT_CODE = """
headers["api_key"] = api_key; os.environ["SOME_SECRET"] = SOME_SECRET
parser.add_argument("--token", "--hf-token", help="of Hugging Face"); option("--api-key", "api_key")
login(token=token); login(token=os.environ["HF_TOKEN"]); env={"PAD_TOKEN": "[PAD]"}; env=dict(os.environ)
headers = {"Authorization": f"Bearer {token}"}; "Bearer your-access-token-goes-here"; print("login first_then_continue")
!curl -u $USER:$TOKEN https://host; run --secrets NAME=value; hf auth login --token $HF_TOKEN; id_key="revision"
"""


@pytest.mark.parametrize("suffix", [".txt", ".toml", ".py", ".ipynb"])
def test_what_is_called_so_by_chance_is_no_secret(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text(INNOCENT + (INNOCENT_CODE if suffix in (".py", ".ipynb") else ""))
    secrets.check({path.name: path})


def test_the_projects_own_files_hold_no_secret() -> None:
    folders = ("cascade", "configs", "notebooks", "profiles", "sample/models", "sample/adapters")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    secrets.check({path.relative_to(ROOT).as_posix(): path for path in found if path.suffix != ".pyc"})
