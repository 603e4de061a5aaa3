"""Every error that the project raises says what to do about it, and keeps its parts wherever it travels."""

import ast
import pickle
from functools import cache
from pathlib import Path

import pytest

from cascade.base.errors import CascadeError, ConfigError, DataError

ROOT = Path(__file__).parents[1]
FILES = [path for package in ("cascade", "packer", "training") for path in sorted((ROOT / package).rglob("*.py"))]
NODES = [(path, node) for path in FILES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
# Errors without a fix of their own, and why.
WITHOUT = {
    "cascade/kaggle/kernel.py: StageError": "the list of all failures, each with its own",
    "packer/kaggle/push.py: KernelError": "a list of problems, each with its own",
    "packer/wheels/fetch.py: NoRoomError": "caught by `_full`, which has it",
    "packer/wheels/pip.py: NoRoomError": "likewise",
    "packer/wheels/pip.py: StoppedError": "never shown: another package's error is",
    "packer/wheels/pip.py: NoWheelError": "never shown: a wheel is built instead, or WheelsError says what to do",
    "cascade/stages/stages.py: StageError": "the retrievers that were left out, each with its own",
}


def name(node: ast.expr) -> str:
    return ast.unparse(node).split(".")[-1]


@cache
def made() -> list[tuple[str, ast.Call]]:
    """Where an error of CascadeError's family is made: file and class, and the call."""
    bases = {node.name: set(map(name, node.bases)) for _, node in NODES if isinstance(node, ast.ClassDef)}
    family = {"CascadeError", "kind"}  # a variable for one of two
    while grown := {each for each, above in bases.items() if above & family} - family:
        family |= grown
    assert len(family) > 30
    raised = {id(node.exc) for _, node in NODES if isinstance(node, ast.Raise)}
    calls = [(path, name(node.func), node) for path, node in NODES if isinstance(node, ast.Call)]
    return [
        (f"{path.relative_to(ROOT)}: {called}", node)
        for path, called, node in calls
        if called in family and (called != "kind" or id(node) in raised)
    ]


def has_fix(call: ast.Call) -> bool:
    mend = next((keyword.value for keyword in call.keywords if keyword.arg == "mend"), None)
    return mend is not None and not (isinstance(mend, ast.Constant) and not mend.value)


def test_every_error_has_a_fix() -> None:
    assert {where for where, call in made() if not has_fix(call)} == set(WITHOUT)


def test_no_sentence_has_its_fix_in_it() -> None:
    """What it is put together by is in one place."""
    for where, call in made():
        what = ast.unparse(call.args[0]) if call.args else ""
        assert "; " not in what or "{error}; " in what or "join" in what, f"{where}, line {call.lineno}: {what}"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CascadeError("is wrong"), "is wrong"),
        (DataError("is empty", path=Path("data/test.csv"), mend="add a row"), "data/test.csv: is empty; add a row"),
        (DataError("is 'x'", path="a.csv", key="row 3", mend="write a number"), "a.csv: row 3: is 'x'; write a number"),
        (ConfigError("is no stage", key="--from", mend="use one of a, b"), "--from: is no stage; use one of a, b"),
        (ConfigError.of_sentence("a; b: c; do it"), "a; b: c; do it"),
    ],
)
def test_the_sentence_is_made_of_the_parts(error: CascadeError, sentence: str) -> None:
    assert str(error) == sentence and sentence.startswith(error.found)
    copy = pickle.loads(pickle.dumps(error))  # as out of a worker's process
    assert type(copy) is type(error)
    assert (copy.what, copy.path, copy.key, copy.mend) == (error.what, error.path, error.key, error.mend)
