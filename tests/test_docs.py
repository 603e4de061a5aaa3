"""README and docs: short enough to be read, nothing they point at is missing, and every command in them can be run."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from cascade.base.runtime import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:make|python -m (?:cascade|packer|training|sample)\S*|cascade(?:-\w+)?|bash|\S*bin/\w+) ")
OURS = re.compile(r"python -m (?:cascade|packer|training|sample|tests|pytest)\b.*")
VARIABLE = re.compile(r"\b([A-Z]+)=(\S*)")
# What stands for a path or a number of the reader's own.
ANY_PATH = re.compile(r"dir|folder|file|.*(?:…|\b[A-Z]{2,}\b).*")
OWN = re.compile(r"(?:[Ww]rite|[Ss]ave [\w ]*as|[Yy]our [\w ,]*) `([^`]+)`")
PROBE = "no-such-value"
PROGRAMS = {"cascade": "cascade.__main__", "packer": "packer.__main__", "training": "training.__main__"}
SCRIPTS = {"cascade": "cascade", "cascade-packer": "packer", "cascade-train": "training"}


def anchors(page: Path) -> set[str]:
    """A page's headings as GitHub spells them in an address."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[str]:
    """The commands of a page's blocks and inline code, without their comments."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]
    found = [re.split(r"\s#", line)[0].strip().removeprefix("$ ") for line in lines] + spans
    return [re.sub(r"=n\b", "=1", line) for line in found if COMMAND.match(line)]


def own_paths(page: Path) -> set[str]:
    """The files that the page says are the reader's own."""
    return set(OWN.findall(page.read_text(encoding="utf-8")))


def make_dry(lines: set[str]) -> dict[str, str]:
    """What `make` would run for each line; the environments need not be there."""
    dry = "MAKEFLAGS= make -n -o .venv/ready -o .venv-vllm/ready"
    script = "\n".join(f"{dry} {line.removeprefix('make ')} || echo FAILED; echo -----" for line in lines)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    shown = dict(zip(lines, done.stdout.split("-----\n"), strict=False))
    assert not [line for line, out in shown.items() if "FAILED" in out], done.stderr
    return shown


@cache
def program(module: str) -> Any:
    """The parser of `python -m module`, as typer builds it."""
    found = importlib.import_module(PROGRAMS.get(module, f"{module}.__main__"))
    if not hasattr(found, "app"):
        app = typer.Typer(add_completion=False)
        app.command()(found.main)
        return typer.main.get_command(app)
    return typer.main.get_command(found.app)


def parse(words: list[str]) -> list[Path]:
    """The paths that `python -m words` would be given, once its program's own parser has taken them."""
    module, *given = words
    if module == "pytest":
        return [Path(word) for word in given if "/" in word]
    if module.startswith("tests."):  # their own main, which would take seconds to import
        source = ROOT.joinpath(*module.split("."))
        main = source / "__main__.py" if source.is_dir() else source.with_suffix(".py")
        tree = ast.parse(main.read_text(encoding="utf-8"))
        options = {arg.arg for node in tree.body if getattr(node, "name", "") == "main" for arg in node.args.args}
        assert {word[2:] for word in given if word.startswith("--")} <= options
        figures = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("bench*.py"))
        only = given[given.index("--only") + 1] if module == "tests.bench" and "--only" in given else "plan"
        assert f'"{only}": ' in figures, only
        return []
    if module not in PROGRAMS and find_spec(f"{module}.__main__" if "." not in module else module) is None:
        raise AssertionError(f"there is no {module}")
    if module == "cascade.config.reference":
        assert not given
        return []
    command = program(module)
    if hasattr(command, "commands"):
        if not given or given[0] in ("-h", "--help", "--version"):
            return []
        name, *given = given
        assert name in command.commands, f"python -m {module} has no {name}"
        if not given:  # a name, which may require arguments
            return []
        command = command.commands[name]
    values = command.make_context(module, given).params.values()
    listed = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
    return [item for item in listed if isinstance(item, Path)]


def notebook_paths(words: list[str]) -> list[Path]:
    """The paths of a papermill command, whose parameters must be the notebook's."""
    notebook = ROOT / words[0]
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    source = "".join("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    for option, name in pairwise(words):
        assert option != "-p" or re.search(rf"^{name}\b", source, re.MULTILINE), f"{words[0]} has no parameter {name}"
    return [Path(words[0]), Path(words[1])]


def paths(line: str) -> list[Path]:
    """The paths that a command which is not of make is given; its program must be there and accept it."""
    first, *words = shlex.split(line)
    if first in SCRIPTS:
        return parse([SCRIPTS[first], *words])
    if first == "python" or first.endswith("bin/python"):
        assert words[0] == "-m", line
        return parse(words[1:])
    if first == "bash":
        return [Path(words[0])]
    assert Path(sys.executable).with_name(Path(first).name).exists(), f"{first} is not installed"
    return notebook_paths(words) if first.endswith("/papermill") else [Path(word) for word in words if "/" in word]


def missing(found: list[Path], own: set[str]) -> list[str]:
    """Of these paths those that neither exist, nor are made by a command, nor stand for the reader's own."""
    names = [path.as_posix() for path in found]
    return [
        name
        for name in names
        if not (name in own or name.startswith("build/") or ANY_PATH.fullmatch(name) or (ROOT / name).exists())
    ]


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8192


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {path}#{anchor}"


def test_every_command_can_be_run() -> None:
    """Make's own are run dry; what they and the others start is read by the program's own parser."""
    told = [(page, line) for page in PAGES for line in dict.fromkeys(commands(page))]
    assert len(told) > 90
    made = make_dry({line for _, line in told if line.startswith("make ")})
    wrong = []
    for page, line in told:
        for command in OURS.findall(made[line]) if line in made else [line]:
            try:
                lost = missing(paths(command), own_paths(page))
            except Exception as error:  # what the parser says, whichever it is
                wrong.append(f"{page.name}: {line}: {error}")
            else:
                wrong += [f"{page.name}: {line}: there is no {path}" for path in lost]
    assert not wrong, "\n".join(wrong)


def test_every_variable_of_a_make_command_changes_what_it_does() -> None:
    """Make passes over a variable that it does not know."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = [line for page in PAGES for line in commands(page) if line.startswith("make ")]
    told += [f"make {name} {text}" for name, text in re.findall(r"^([a-z-]+):[^#\n]*## ?(.*)", makefile, re.MULTILINE)]
    pairs = {(f"make {line.split()[1]}", name) for line in told for name, _ in VARIABLE.findall(line)}
    assert len(pairs) > 40
    made = make_dry({f"{target}{more}" for target, name in pairs for more in ("", f" {name}={PROBE}")})
    assert not [f"{target} {name}=" for target, name in pairs if made[target] == made[f"{target} {name}={PROBE}"]]


def test_every_make_command_in_a_message_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    sources = [path for package in PROGRAMS for path in (ROOT / package).rglob("*.py")]
    for path in sources:
        told = re.findall(
            r"""(?:[:,`"(]|then|run) ?make (?!it\b)([a-z-]+)(?! [a-z])\b""", path.read_text(encoding="utf-8")
        )
        assert set(told) <= targets, path


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        links = (page.parent / path for path, _ in LINK.findall(page.read_text(encoding="utf-8")) if path)
        todo += [there.resolve() for there in links if there.suffix == ".md"]
    assert {page for page in PAGES if page.parent.name == "docs"} <= reached


def test_every_page_is_in_the_sites_contents() -> None:
    listed = re.findall(r"^(\w\S+)$", (ROOT / "docs" / "contents.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(ROOT / f"{name}.md" for name in listed) == sorted(
        page for page in PAGES if page != ROOT / "README.md"
    )
