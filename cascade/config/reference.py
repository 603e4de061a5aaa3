"""`python -m cascade.config.reference`: every key of a config as Markdown, from what the config's own classes say."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from cascade.config import parts, schema, selecting, timing
from cascade.config.parts import ConfigModel

# The tables of a TOML file, in the order in which they stand there.
TABLES: tuple[tuple[str, type[ConfigModel]], ...] = (
    ("At the top", schema.Config),
    ("[time]", timing.Time),
    ("[reason]", schema.Reason),
    ("[[retrieval]]", schema.Retrieval),
    ('[[retrieval.retriever]], kind = "allowed"', parts.AllowedPart),
    ('[[retrieval.retriever]], kind = "tfidf"', parts.TfidfPart),
    ('[[retrieval.retriever]], kind = "dense"', parts.DensePart),
    ('[[retrieval.retriever]], kind = "neighbours"', parts.NeighboursPart),
    ('[[retrieval.retriever]], kind = "classifier"', parts.ClassifierPart),
    ("[retrieval.retriever.embeddings]", parts.EmbeddingModel),
    ('[[pipeline]], kind = "cross-encoder"', schema.CrossEncoderPipeline),
    ('[[pipeline]], kind = "pointwise"', schema.PointwisePipeline),
    ('[[pipeline]], kind = "listwise"', schema.ListwisePipeline),
    ('[[pipeline]], kind = "tournament"', schema.TournamentPipeline),
    ("[pipeline.select]", selecting.Select),
    ("[ensemble]", schema.Ensemble),
)
KINDS = {str: "text", int: "whole number", float: "number", bool: "true, false"}
DURATIONS = ("limit", "reserve")


def markdown() -> str:
    """A heading and a table of keys for each table of a TOML file."""
    return "\n\n".join("\n".join(_table(heading, model)) for heading, model in TABLES) + "\n"


def _table(heading: str, model: type[ConfigModel]) -> Iterator[str]:
    yield f"### {heading}"
    yield ""
    yield (model.__doc__ or "").split("\n")[0]
    yield ""
    yield "| key | value | default | what it is |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name in ("path", "kind"):
            continue
        default = _default(name, field.get_default(call_default_factory=True))
        yield f"| `{name}` | {_value(name, field.annotation)} | {default} | {field.description} |"


def _value(name: str, annotation: Any) -> str:
    if name in DURATIONS:
        return "duration"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(name, arguments[0])
    if origin in (Union, UnionType):
        kinds = [_value(name, each) for each in arguments if each is not NoneType]
        return ", ".join(dict.fromkeys(kinds))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        inner = arguments[0]
        return "tables" if _is_table(inner) else f"list of {_value(name, inner)}"
    if origin is dict or _is_table(annotation):
        return "table"
    return KINDS[annotation]


def _is_table(annotation: Any) -> bool:
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return isinstance(annotation, type) and issubclass(annotation, ConfigModel)


def _default(name: str, value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ([], {}) or isinstance(value, ConfigModel):
        return "–"
    if name in DURATIONS:
        return f'`"{value / 3600:g}h"`' if value >= 3600 else f'`"{value / 60:g}m"`'
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value!r}`".replace("'", '"')


if __name__ == "__main__":
    print(markdown(), end="")
