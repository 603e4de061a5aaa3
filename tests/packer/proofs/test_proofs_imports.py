"""What is imported, and by whom: of the project's own code all, of wheels what their import runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packer.proofs import imports, wheel_modules
from packer.proofs.source_imports import at_import, standard_library
from packer.proofs.subject import Subject
from packer.proofs.wheel_metadata import gather
from packer.wheels import images
from packer.wheels.images import Image
from packer.wheels.locks import read
from tests.wheelmaker import lock, make_image, make_wheel


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return make_image(tmp_path, ["app"], "import app")


def missing(image: Image) -> dict[str, tuple[str, ...]]:
    """Who asks for each module that is not there."""
    lock(image)
    memory = image.project.parent / "memory"
    found = imports.prove(Subject(image, read(image.lock), gather(image.wheels, memory), [], [], memory))
    return {each.package: each.asked_by for each in found}


def test_an_import_that_metadata_forgets_is_named_with_the_chain(image: Image) -> None:
    """As the kaggle client forgets six."""
    files = {"app/__init__.py": "from . import api", "app/api/__init__.py": "from .rest import call",
             "app/api/rest.py": "import os.path\nimport six.moves\ndef call(): pass"}  # fmt: skip
    make_wheel(image.wheels, "app", files=files)
    assert missing(image) == {"six": ("cascade/__init__.py → app → app.api → app.api.rest → six",)}
    make_wheel(image.wheels, "six", files={"six.py": ""})
    assert missing(image) == {}


def test_the_projects_own_imports_are_asked_for_wherever_they_stand(image: Image) -> None:
    source = "def f():\n  try:\n    import app, hidden\n  except ImportError: pass\n"
    (image.project.parent / "cascade" / "__init__.py").write_text(source)
    cell = {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip list\n", "if x:\n", "    import pictures"]}
    folder = image.project.parent / "notebooks"
    folder.mkdir()
    (folder / "a.ipynb").write_text(json.dumps({"cells": [cell, {"cell_type": "markdown", "source": "import no"}]}))
    entries = ["papermill.__main__", "papermill/engines", "nbclient", "ipykernel_launcher", "jupyter_client"]
    files = {f"{entry.partition('.')[0].partition('/')[0]}.py": "" for entry in entries}
    make_wheel(image.wheels, "app", files={"app.py": "", **files})
    assert missing(image) == {
        "hidden": ("cascade/__init__.py → hidden",),
        "pictures": ("notebooks/a.ipynb → pictures",),
    }


def test_an_image_without_models_needs_nothing_that_only_models_import(tmp_path: Path) -> None:
    image = make_image(tmp_path, [], "def f():\n  import torch, numpy\n  from vllm import LLM\n")
    assert set(missing(image)) == {"torch", "numpy"}
    image.path.write_text(image.path.read_text().replace('extras = ["models"]', "extras = []"))
    assert set(missing(images.load("tiny", image.path.parent))) == {"numpy"}


def test_what_any_run_imports_is_needed_without_models_too(tmp_path: Path) -> None:
    image = make_image(tmp_path, [], "")
    image.path.write_text(image.path.read_text().replace('extras = ["models"]', "extras = []"))
    project = image.project.parent / "cascade"
    for name, text in {
        "run/__init__.py": "", "run/conductor.py": "from cascade.run import steps\n",
        "run/steps.py": "import torch\ndef f():\n  import peft\n", "other.py": "import faiss\n",
    }.items():  # fmt: skip
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    assert missing(images.load("tiny", image.path.parent)) == {"torch": ("cascade/run/steps.py → torch",)}


def test_what_the_kernel_starts_by_name_is_asked_for(image: Image) -> None:
    make_wheel(image.wheels, "app")
    (image.project.parent / "notebooks").mkdir()
    assert missing(image)["papermill"][0] == "the kernel → papermill"
    assert "ipykernel_launcher" in missing(image)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import x.y\nfrom a import b, c\nfrom d import *", ["a.b", "a.c", "d", "x.y"]),
        ("def f():\n  import x", []),
        ("if TYPE_CHECKING:\n  import x\nelse:\n  import y", []),
        ("try:\n  import x\nexcept ImportError:\n  x = None", []),
        ("try:\n  import x\nexcept (OSError, ModuleNotFoundError):\n  import y", []),
        ("try:\n  import x\nexcept Exception:\n  pass\nfinally:\n  import z", ["z"]),
        ("try:\n  import x\nexcept:\n  pass", []),
        ("try:\n  import x\nexcept ImportError as e:\n  raise ImportError('install x') from e", ["x"]),
        ("try:\n  import x\nexcept OSError:\n  pass", ["x"]),
        ("class A:\n  import x", ["x"]),
        ("with warnings.catch_warnings():\n  import x", ["x"]),
        ("with contextlib.suppress(ImportError):\n  import x", []),
        ("with try_import() as _imports:\n  import x", []),
        ("with guard.optional:\n  from x import y", []),
        ("with _lock:\n  import x", ["x"]),
        ("with open(f) as a, warnings.catch_warnings():\n  import x", ["x"]),
        ("print 'Python 2'", None),
    ],
)
def test_what_an_import_runs(source: str, found: list[str] | None) -> None:
    assert at_import(source, "p.m", package=False) == found


def test_what_this_python_cannot_parse_is_not_proved_and_looked_at_anew_by_another(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(image.wheels, "app", files={"app/__init__.py": "from . import new", "app/new.py": "import six; match?"})
    lock(image)
    memory = image.project.parent / "memory"
    bundle = Subject(image, read(image.lock), gather(image.wheels, memory), [], [], memory)
    for _ in range(2):  # the second time from memory
        [found] = imports.prove(bundle)
        assert found.status == "not proved" and found.wants.endswith(", which runs this, cannot parse app.new")
        assert found.package == "app" and found.asked_by == ("cascade/__init__.py → app → app.new",)
    monkeypatch.setattr(wheel_modules, "FORMAT", [*wheel_modules.FORMAT[:2], 99])
    monkeypatch.setattr(wheel_modules, "at_import", lambda *_, **__: ["six"])  # a Python that can
    assert [each.package for each in imports.prove(bundle)] == ["six"]


def test_relative_imports_are_made_absolute() -> None:
    source = "from . import b\nfrom .c import d\nfrom ..q import e"
    assert at_import(source, "p.m.n", package=False) == ["p.m.b", "p.m.c.d", "p.q.e"]
    assert at_import(source, "p.m.n", package=True) == ["p.m.n.b", "p.m.n.c.d", "p.m.q.e"]


def test_compiled_modules_namespaces_and_the_other_roots_of_a_wheel_count(image: Image) -> None:
    source = "import fast, fast2.inner, space.part, placed, plat.deep"
    make_wheel(image.wheels, "app", files={
        "app.py": source,
        "fast.cpython-312-x86_64-linux-gnu.so": b"",
        "fast2/inner.abi3.so": b"",
        "space/part/module.py": "import beyond",
        "app-1.0.data/purelib/placed.py": "import beyond2",
        "app-1.0.data/platlib/plat/deep.py": "import beyond3",
        "app-1.0.data/scripts/never.py": "",
        "stubs/only.pyi": "",
    })  # fmt: skip
    assert set(missing(image)) == {"beyond2", "beyond3"}  # space.part.module itself is not imported
    make_wheel(image.wheels, "app", files={"app.py": "import never, stubs"})
    assert set(missing(image)) == {"never", "stubs"}


def test_what_a_pth_file_puts_on_the_path_is_provided(image: Image) -> None:
    """As nvidia-cutlass-dsl brings cutlass."""
    make_wheel(image.wheels, "app", files={
        "app.py": "import cutlass.pipeline, flat, hidden, deeper",
        "app.pth": "# where they are\nimport sys; sys.dont_write_bytecode = True\n\nkept/packages\n./kept/more/ \n",
        "kept/packages/cutlass/__init__.py": "from . import pipeline",
        "kept/packages/cutlass/pipeline/__init__.py": "import beyond",
        "kept/more/flat.py": "",
        "kept/hidden.py": "",
        "below/no.pth": "deep",
        "below/deep/deeper.py": "",
        "deep/deeper.py": "",
    })  # fmt: skip
    chain = "cascade/__init__.py → app → cutlass.pipeline → beyond"
    assert missing(image) == {
        "beyond": (chain,),
        "hidden": missing(image)["hidden"],
        "deeper": missing(image)["deeper"],
    }


def test_setuptools_brings_distutils_and_what_it_vendors(image: Image) -> None:
    make_wheel(image.wheels, "app", files={"app.py": "import distutils.core, setuptools"})
    assert set(missing(image)) == {"distutils", "setuptools"}
    make_wheel(image.wheels, "setuptools", files={
        "setuptools/__init__.py": "import more_itertools",
        "setuptools/_distutils/core.py": "import absent",
        "setuptools/_vendor/more_itertools/__init__.py": "",
    })  # fmt: skip
    assert missing(image) == {"absent": ("cascade/__init__.py → app → distutils.core → absent",)}


def test_a_long_chain_is_cut_in_its_middle(image: Image) -> None:
    make_wheel(image.wheels, "app", files={f"{a}.py": f"import {b}" for a, b in zip(["app", *"abcdef"], "abcdefg")})  # noqa: B905
    assert missing(image) == {"g": ("cascade/__init__.py → app → a → … → e → f → g",)}


@pytest.mark.parametrize(
    ("python", "has", "lacks"),
    [
        ("3.11", {"distutils", "imp", "cgi", "tomllib", "__future__"}, {"six"}),
        ("3.12.13", {"cgi", "telnetlib", "zoneinfo"}, {"distutils", "asyncore"}),
        ("3.13", {"json"}, {"cgi", "distutils", "lib2to3"}),
    ],
)
def test_the_targets_standard_library_is_not_this_pythons(python: str, has: set[str], lacks: set[str]) -> None:
    assert has <= standard_library(python)
    assert not lacks & standard_library(python)
