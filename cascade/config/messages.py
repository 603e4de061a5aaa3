"""A config's file as tables, and what an error in it says: the place, the key and the fix, in one sentence."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cascade.base.errors import CascadeError, ConfigError, nearest

E = TypeVar("E", bound=CascadeError)
Models = Mapping[str, type[BaseModel]]
DEEPEST = 32  # a config needs 4; an engine's arguments a few more
TOO_DEEP = "tables or lists are nested too deeply"
LARGEST = 1 << 53


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError where a key has a value that nothing can be made of."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", path=path, mend="correct the file") from error
    except RecursionError:
        raise ConfigError(TOO_DEEP, path=path, mend="write them flat") from None
    _check(raw, path)
    return raw


def _check(value: Any, path: Path, key: str = "", depth: int = 0) -> None:
    """ConfigError for what no key may have.

    A NUL ends paths and arguments, a number beyond 64 bits no table holds, and what nests is walked by recursion.
    """
    if depth > DEEPEST:
        raise ConfigError(TOO_DEEP, path=path, mend="write them flat")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError("contains a NUL character", path=path, key=key, mend="remove it")
    if isinstance(value, int) and abs(value) > LARGEST:
        bound = "below -2**53" if value < 0 else "above 2**53"
        raise ConfigError(f"is {bound}", path=path, key=key, mend="use a smaller number")
    if isinstance(value, dict):
        for name, each in value.items():
            if "\0" in name:
                raise ConfigError("a key contains a NUL character", path=path, key=key, mend="remove it")
            _check(each, path, name, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, path, key, depth + 1)


def no_number(name: str) -> str:
    """The name; ValueError where it reads as a number, though it is made of letters."""
    if name in ("nan", "inf", "infinity"):
        raise ValueError(f"'{name}' reads as a number; choose another name")
    return name


def explained(error: ValidationError, path: Path, tables: Models, kinds: Models, family: type[E]) -> list[E]:
    """An error of the `family` for each that pydantic found; unknown keys first: they may be why others are missing.

    `tables` are the models by the name of the table that holds them ("" for the whole file), `kinds`
    those of tagged unions by their tag.
    """
    found = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    parts = (_parts(each, tables, kinds) for each in found)
    return [family(what, path=path, key=key, mend=mend) for key, what, mend in parts]


def _parts(error: ErrorDetails, tables: Models, kinds: Models) -> tuple[str, str, str]:
    """The key, what is wrong and the fix; a validator's own sentence has its fix behind the last semicolon."""
    type_, loc = error["type"], error["loc"]
    own = CascadeError.of_sentence(error["msg"].removeprefix("Value error, "))
    if not loc:
        return "", own.what, own.mend
    if type_ == "union_tag_invalid":
        tag, tags = error["ctx"]["tag"], error["ctx"]["expected_tags"]
        near = nearest(tag, tags.replace("'", "").split(", "))
        return _place(loc, kinds), f"kind is {tag!r}{near}", f"it must be one of {tags}"
    if type_ == "union_tag_not_found":
        return _place(loc, kinds), "'kind' is missing", "add it"
    key = _place(loc[-2:], kinds) if isinstance(loc[-1], int) else str(loc[-1])
    around = _place(loc[:-2] if isinstance(loc[-1], int) else loc[:-1], kinds)
    if type_ == "extra_forbidden":
        near = nearest(key, _keys_at(loc[:-1], {**tables, **kinds}))
        return around, f"unknown key {key!r}{near}", "remove or correct it"
    if type_ == "missing":
        return around, f"{key!r} is missing", "add it"
    if key == "[key]":
        mend = "use letters, digits and underscores only"
        return str(loc[0]), f"{error['input']!r} is not a valid variable name", mend
    if type_ == "value_error":
        return f"{around}: {key}" if around else key, own.what, own.mend
    if type_ == "list_type" and isinstance(error["input"], dict):
        return around, f"{key} is one table, not a list of them", "write its heading in double brackets"
    if type_ in ("model_type", "model_attributes_type", "dict_type"):
        mend = "it should be a table of keys and values"
    elif type_ == "string_pattern_mismatch" and key == "name":
        mend = "a name begins with a letter and is made of a-z, 0-9 and hyphens"
    else:
        mend = error["msg"].replace("Input should", "it should").replace(" after validation", "")
    return around, f"{key} is {reprlib.repr(error['input'])}", f"{mend[0].lower()}{mend[1:]}"


def _place(loc: tuple[int | str, ...], kinds: Models) -> str:
    """`retrieval 1, retriever 2` for ("retrieval", 0, "retriever", 1, "dense"): counted from 1, without the kind."""
    words: list[str] = []
    for part in loc:
        if isinstance(part, int):
            words[-1] += f" {part + 1}"
        elif part not in kinds:
            words.append(part)
    return ", ".join(words)


def _keys_at(loc: tuple[int | str, ...], models: Models) -> list[str]:
    """The keys that the table at `loc` may have; of a tagged union, those of the tag in `loc`."""
    last = next((part for part in reversed(loc) if isinstance(part, str)), "")
    return [key for key in models[last].model_fields if key != "path"] if last in models else []
