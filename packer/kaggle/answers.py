"""Kaggle's answers read as leniently as protobuf's JSON asks for, and refused by the field's name where they cannot be.

kagglesdk's own reading ends in a TypeError or AttributeError at a null list, a null or numbered status or a bare list,
after the call has done its work. Here null is a field's default, an enum may be a number and a number a text, as
protobuf.dev/programming-guides/json has it; whatever else is no answer, which is a ValueError to whoever calls.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class AnswerError(ValueError):
    """An answer that is not what its message is; names the field."""


def prepare(kind: Any, answer: Any) -> Any:
    """What an HTTP answer says, as `kind`; HTTPError where it is a refusal. For a file it is the answer itself."""
    from kagglesdk.kaggle_object import KaggleObject
    from requests import HTTPError

    is_message = kind is not None and kind.prepare_from.__func__ is KaggleObject.prepare_from.__func__
    if (is_message or not answer.ok) and "application/json" in answer.headers.get("Content-Type", ""):
        told = answer.json()
        code = told.get("code") if isinstance(told, dict) else None
        if isinstance(code, int) and code >= 400:
            raise HTTPError(str(told.get("message") or answer.reason), response=answer)
    answer.raise_for_status()
    if kind is None or not is_message:
        return None if kind is None else kind.prepare_from(answer)
    return _message(kind, answer.json(), "the answer")


def present(value: T | None, name: str) -> T:
    """A value that an answer must have; AnswerError where it is empty, as in `{}`."""
    if not value:
        raise AnswerError(f"it has no {name}")
    return value


def _message(kind: Any, told: Any, name: str) -> Any:
    from kagglesdk.kaggle_object import ListSerializer, MapSerializer

    if not isinstance(told, dict):
        raise _wrong(name, told)
    found = kind()
    for field in kind._fields:
        value, name = told.get(field.json_name), field.json_name
        if value is None:
            continue
        if isinstance(field.serializer, ListSerializer):
            if not isinstance(value, list):
                raise _wrong(name, value)
            value = [_value(field.field_type, each, name) for each in value if each is not None]
        elif isinstance(field.serializer, MapSerializer):
            if not isinstance(value, dict):
                raise _wrong(name, value)
            value = {key: _value(field.field_type, each, name) for key, each in value.items() if each is not None}
        else:
            value = _value(field.field_type, value, name)
        setattr(found, field.private_field_name, value)
    return found


def _value(kind: type, told: Any, name: str) -> Any:
    from kagglesdk import kaggle_object as sdk

    if issubclass(kind, sdk.KaggleObject):
        return _message(kind, told, name)
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    try:
        if issubclass(kind, Enum) and is_number:
            return kind(told)
        if kind is str and is_number:
            return str(told)
        if kind in (int, float) and (is_number or isinstance(told, str)):
            return kind(told)
        if isinstance(told, str) and issubclass(kind, Enum):
            return sdk.EnumSerializer._from_str(kind, told)
        if isinstance(told, str) and kind is datetime:
            return _naive(sdk.DateTimeSerializer._from_str(told))
        if isinstance(told, str) and kind is timedelta:
            return sdk.TimeDeltaSerializer._from_dict_value(told)
    except (ValueError, OverflowError, IndexError) as error:
        raise _wrong(name, told) from error
    if (kind in (str, bool, int, float, datetime, timedelta) and not isinstance(told, kind)) or issubclass(kind, Enum):
        raise _wrong(name, told)
    return told


def _naive(date: datetime) -> datetime:
    """UTC without saying so, as kagglesdk's are."""
    return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date


def _wrong(name: str, told: Any) -> AnswerError:
    return AnswerError(f"{name} is {repr(told)[:60]}")
