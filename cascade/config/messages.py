"""A config's file as tables, and what an error in it says: the place, the key and the mend, in one sentence."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cascade.base.errors import ConfigError, nearest

Models = Mapping[str, type[BaseModel]]
DEEPEST = 32  # a config needs 4; an engine's arguments a few more
TOO_DEEP = "tables or lists are nested too deeply; write them flat"
LARGEST = 1 << 53


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, where no key holds what nothing can be made of."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}; correct it there") from error
    except RecursionError:
        raise ConfigError(f"{path}: {TOO_DEEP}") from None
    if problem := _unusable(raw):
        raise ConfigError(f"{path}: {problem}")
    return raw


def _unusable(value: Any, key: str = "the file", depth: int = 0) -> str:
    """What no key may hold, in one sentence; "" where all is well.

    A NUL ends paths and arguments, a number beyond 64 bits no table holds, and what nests is walked by recursion.
    """
    if depth > DEEPEST:
        return TOO_DEEP
    if isinstance(value, str) and "\0" in value:
        return f"{key} holds a NUL character; remove it"
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"{key} is {'below -' if value < 0 else 'above '}2**53; give it a smaller number"
    if isinstance(value, dict):
        if any("\0" in name for name in value):
            return f"a key in {key} holds a NUL character; remove it"
        found = (_unusable(each, name, depth + 1) for name, each in value.items())
    elif isinstance(value, list):
        found = (_unusable(each, key, depth + 1) for each in value)
    else:
        return ""
    return next(filter(None, found), "")


def no_number(name: str) -> str:
    """The name; ValueError where it reads as a number, though it is made of letters."""
    if name in ("nan", "inf", "infinity"):
        raise ValueError(f"'{name}' reads as a number; give it another name")
    return name


def explain(error: ValidationError, tables: Models, kinds: Models) -> str:
    """The first of what `explained` says."""
    return explained(error, tables, kinds)[0]


def explained(error: ValidationError, tables: Models, kinds: Models) -> list[str]:
    """A sentence an error; unknown keys first, as they may be why others are missing.

    `tables` are the models by the name of the table that holds them ("" for the whole file), `kinds`
    those of tagged unions by their tag.
    """
    found = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    return [_sentence(each, tables, kinds) for each in found]


def _sentence(error: ErrorDetails, tables: Models, kinds: Models) -> str:
    type_, loc = error["type"], error["loc"]
    if not loc:
        return error["msg"].removeprefix("Value error, ")
    if type_ == "union_tag_invalid":
        tag, tags = error["ctx"]["tag"], error["ctx"]["expected_tags"]
        near = nearest(tag, tags.replace("'", "").split(", "))
        return f"{_place(loc, kinds)}: kind is {tag!r}{near}; it must be one of {tags}"
    if type_ == "union_tag_not_found":
        return f"{_place(loc, kinds)}: 'kind' is missing; add it"
    key = _place(loc[-2:], kinds) if isinstance(loc[-1], int) else str(loc[-1])
    around = _place(loc[:-2] if isinstance(loc[-1], int) else loc[:-1], kinds)
    where = f"{around}: " if around else ""
    if type_ == "extra_forbidden":
        return (
            f"{where}unknown key {key!r}{nearest(key, _keys_at(loc[:-1], {**tables, **kinds}))}; remove or correct it"
        )
    if type_ == "missing":
        return f"{where}{key!r} is missing; add it"
    if key == "[key]":
        return f"{loc[0]}: {error['input']!r} is no variable's name; it is made of letters, digits and underscores"
    if type_ == "value_error":
        return f"{where}{key}: {error['msg'].removeprefix('Value error, ')}"
    if type_ == "list_type" and isinstance(error["input"], dict):
        return f"{where}{key} is one table, not a list of them; write its heading in double brackets"
    if type_ in ("model_type", "model_attributes_type", "dict_type"):
        mend = "it should be a table of keys and values"
    elif type_ == "string_pattern_mismatch" and key == "name":
        mend = "a name begins with a letter and is made of a-z, 0-9 and hyphens"
    else:
        mend = error["msg"].replace("Input should", "it should").replace(" after validation", "")
    return f"{where}{key} is {reprlib.repr(error['input'])}; {mend[0].lower()}{mend[1:]}"


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
