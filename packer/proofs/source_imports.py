"""What a Python source imports, and what a target's standard library has."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

# Modules that a version of Python removed ("Removed" in What's New In Python 3.12 and 3.13).
REMOVED = {
    (3, 12): {"asynchat", "asyncore", "distutils", "imp", "smtpd"},
    (3, 13): {
        "aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap", "msilib", "nis", "nntplib",
        "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib",
    },
}  # fmt: skip
# Context managers that raise again what is raised inside.
PASSING_ON = {"catch_warnings", "redirect_stdout", "redirect_stderr", "nullcontext", "closing", "open", "chdir"}
CATCHING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def standard_library(python: str) -> set[str]:
    """Top-level modules of that version, such as 3.12, whichever version this runs on."""
    major, minor = map(int, python.split(".")[:2])
    names = set(sys.stdlib_module_names).union(*REMOVED.values()) | {"__main__"}
    return names.difference(*(gone for version, gone in REMOVED.items() if version <= (major, minor)))


def everywhere(source: str, module: str = "", package: bool = False) -> list[str]:
    """Dotted names of all imports, those inside functions too. See `at_import`."""
    return sorted({name for node in ast.walk(ast.parse(source)) for name in _names(node, module, package)})


def at_import(source: str | bytes, module: str, package: bool) -> list[str] | None:
    """Dotted names of what must be there for `module` to be imported: what it imports itself, unconditionally.

    Not in a function, under an `if`, or where its absence is caught. `from a import b` gives `a.b`, whether `b` is a
    module or not; relative imports are made absolute. None where this Python cannot parse the source.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    return sorted({name for node in _unconditional(tree.body) for name in _names(node, module, package)})


def _unconditional(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.ClassDef) or (
            isinstance(node, ast.With) and all(_passes_on(item.context_expr) for item in node.items)
        ):
            yield from _unconditional(node.body)
        elif isinstance(node, ast.Try):
            if not any(_goes_on(handler) for handler in node.handlers):
                yield from _unconditional([*node.body, *node.orelse])
            yield from _unconditional(node.finalbody)


def _passes_on(manager: ast.expr) -> bool:
    """Tells whether an import that fails inside is known to fail outside.

    What another manager catches is its own affair, such as optuna's `try_import`.
    """
    called = manager.func if isinstance(manager, ast.Call) else manager
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in PASSING_ON or "lock" in name.lower()


def _goes_on(handler: ast.ExceptHandler) -> bool:
    """Whether the module lives on without the import: its absence is caught, and not raised again."""
    caught = {"BaseException"} if handler.type is None else {
        node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)
    }  # fmt: skip
    return bool(caught & CATCHING) and not isinstance(handler.body[-1], ast.Raise)


def _names(node: ast.AST, module: str, package: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = module.split(".") if node.level else []
        above = node.level - 1 if package else node.level
        parts = parts[: len(parts) - above] if above else parts
        base = ".".join([*parts, *([node.module] if node.module else [])])
        for alias in node.names:
            yield base if alias.name == "*" else f"{base}.{alias.name}"
