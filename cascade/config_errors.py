"""What a validation error of the config says: the place, the key and the mend, in one sentence."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from cascade.errors import nearest

Models = Mapping[str, type[BaseModel]]


def explain(error: ValidationError, tables: Models, kinds: Models) -> str:
    """One error, in one sentence; an unknown key first, as it may be why another is missing.

    `tables` are the models by the name of the table that holds them ("" for the whole file), `kinds`
    those of tagged unions by their tag.
    """
    found = error.errors()
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    type_, loc = first["type"], first["loc"]
    if not loc:
        return first["msg"].removeprefix("Value error, ")
    if type_ == "union_tag_invalid":
        tag, tags = first["ctx"]["tag"], first["ctx"]["expected_tags"]
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
    if type_ == "value_error":
        return f"{where}{key}: {first['msg'].removeprefix('Value error, ')}"
    if type_ == "list_type" and isinstance(first["input"], dict):
        return f"{where}{key} is one table, not a list of them; write its heading in double brackets"
    if type_ in ("model_type", "model_attributes_type", "dict_type"):
        mend = "it should be a table of keys and values"
    elif type_ == "string_pattern_mismatch" and key == "name":
        mend = "a name is made of a-z, 0-9 and hyphens"
    else:
        mend = first["msg"].replace("Input should", "it should").replace(" after validation", "")
    return f"{where}{key} is {reprlib.repr(first['input'])}; {mend[0].lower()}{mend[1:]}"


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
