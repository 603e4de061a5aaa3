"""The documented keys are the config's own."""

from __future__ import annotations

from pydantic import BaseModel

from cascade.base.runtime import ROOT
from cascade.config import parts, reference, schema


def test_the_documentation_is_what_the_config_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page.endswith(reference.markdown()), "run python -m cascade.config.reference, and put it at the page's end"


def test_every_key_says_what_it_is() -> None:
    for heading, model in reference.TABLES:
        for name, field in model.model_fields.items():
            assert field.description or name in ("path", "kind"), f"{heading}: {name}"


def test_every_table_is_documented() -> None:
    known = {model for _, model in reference.TABLES}
    bases = {
        schema.NamedStage,
        schema.Pipeline,
        schema.AskedPipeline,
        schema.LanguageModel,
        parts.Encoder,
        parts.Adapted,
    }
    declared = [*vars(parts).values(), *vars(schema).values()]
    all_models = {each for each in declared if isinstance(each, type) and issubclass(each, BaseModel)}
    assert all_models - bases - {BaseModel, parts.ConfigModel} == known
