"""A kernel is pushed only where what was packed is what lies here, and what Kaggle has."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cascade.base.manifest import Manifest
from cascade.config.schema import load
from packer.kaggle import push
from packer.kaggle.kernel import KernelError
from packer.kaggle.session import Session
from packer.wheels import images
from tests.kaggle_server.kernels import SAVE
from tests.pushing import IMAGE, push_it


def test_another_config_than_the_packed_one_is_refused(kaggle):
    shutil.copy("configs/t.toml", "configs/other.toml")
    with pytest.raises(KernelError, match=r"is staged for configs/t\.toml; run: make pack CONFIG=configs/other\.toml"):
        push.push_kernel(Session(), load(Path("configs/other.toml")), images.load("t4"))


def test_all_that_was_changed_since_it_was_packed_is_named_and_nothing_is_pushed(kaggle):
    add("configs/t.toml")
    add("wheels/t4.lock")
    add("configs/adapters/yes-no/adapter_model.safetensors")
    with pytest.raises(KernelError) as error:
        push_it()
    mend = "has changed since it was staged; run: make pack CONFIG=configs/t.toml IMAGE=t4"
    code, wheels, adapters = error.value.problems
    assert code == f"build/datasets/cascade-kernel-code: configs/t.toml {mend}"
    assert wheels == f"build/datasets/cascade-kernel-wheels-t4: wheels/t4.lock {mend}"
    assert adapters.endswith(f"yes-no/adapter_model.safetensors {mend}")
    assert SAVE not in kaggle.methods()


@pytest.mark.parametrize(
    "name", ["configs/prompts/pointwise.txt", "notebooks/rerank.ipynb", "cascade/rankings/fusion.py"]
)
def test_a_prompt_a_notebook_and_the_source_are_what_was_packed(kaggle, name):
    add(name)
    with pytest.raises(
        KernelError, match=f"cascade-kernel-code: {name} has changed since it was staged; run: make pack"
    ):
        push_it()


def test_an_image_whose_facts_changed_is_packed_again(kaggle):
    Path("wheels/t4.toml").write_text(IMAGE.replace("2.35", "2.39"))
    with pytest.raises(KernelError, match=r"wheels-t4: glibc was 2\.35 when it was staged, and is 2\.39; run: make"):
        push_it()


def add(name):
    """Changes a file without making it invalid; a new file, as editors write it."""
    text = Path(name).read_text()
    Path(name).unlink()
    Path(name).write_text(text + "\n")


def test_a_dataset_at_kaggle_that_is_not_what_is_packed_is_pushed_first(kaggle):
    old = Manifest("wheels", "", False, {}, {"image": "an older one"}).as_json().encode()
    kaggle.datasets.put_version("ada/cascade-kernel-wheels-t4", {"manifest.json": old})
    with pytest.raises(
        KernelError, match=r"cascade-kernel-wheels-t4: Kaggle's version differs .*run: make push-datasets"
    ):
        push_it()
    assert SAVE not in kaggle.methods()


def test_a_dirty_tree_and_another_commit_are_warned_of(kaggle):
    for command in ("init -q", "add configs", "-c user.name=a -c user.email=a@b commit -qm one"):
        subprocess.run(["git", *command.split()], check=True, capture_output=True)
    said = []
    pushed = push_it(said)
    assert pushed.dirty
    assert len(pushed.commit) == 40
    assert [text for text in said if "files have changed since commit" in text]
    assert [text for text in said if "the code was packed at another commit" in text]
    assert len(said) == 2
