"""The keys of LLM stages: what is accepted, and how every slip is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.base.errors import ConfigError
from cascade.base.runtime import ROOT
from cascade.config import schema, values
from cascade.config.schema import ListwisePipeline, PointwisePipeline, TournamentPipeline
from cascade.config.selecting import LOG_ODDS

WHOLE = """\
engine = "vllm"

[vllm]
gpu_memory_utilization = 0.9

[environment]
VLLM_USE_V1 = "1"

[reason]
model = "m"
prompt = "reason.txt"
max_tokens = 32
limit = "10m"

[[retrieval]]
name = "r1"
query_text = "query.txt"

[[retrieval.retriever]]
kind = "dense"
model = "e"
pooling = "lasttoken"
load_in_4bit = true

[[pipeline]]
name = "list"
kind = "listwise"
candidates = "r1"
top_k = 60
window = 40
stride = 20
reverse = true
model = "m"
adapter = "a"
prompt = "list.txt"
parallel = "tensor"
max_length = 2048

[[pipeline]]
name = "point"
kind = "pointwise"
candidates = "list"
model = "m"
prompt = "point.txt"
chat_template = { enable_thinking = false }
vllm = { max_num_seqs = 64 }
options = ["Ja", "Nein"]

[pipeline.select]
by = "list"
min_score = 0.01
max_top1 = 0.9

[[pipeline]]
name = "final"
kind = "tournament"
candidates = "point"
group = 9
model = "m"
prompt = "list.txt"

[[pipeline]]
name = "ce"
kind = "cross-encoder"
candidates = "final"
model = "c"
select = { by = "final", top_n = 5 }

[ensemble]
weights = { point = 2.0, final = 1.0 }
"""

OPTIONS = 'options = ["Ja", "Nein"]'  # of the pointwise pipeline


def write(tmp_path: Path, old: str = "", new: str = "") -> Path:
    """The whole config with the one place `old` replaced."""
    assert not old or WHOLE.count(old) == 1, old
    path = tmp_path / "run.toml"
    path.write_text(WHOLE.replace(old, new) if old else WHOLE, encoding="utf-8")
    return path


def refusal(path: Path, engine: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        schema.load(path, engine)
    message = str(caught.value)
    assert caught.value.path == path and caught.value.mend
    assert "\n" not in message
    for internal in ("type=", "extra_forbidden", "pydantic", "Value error", "input_value", "instance of"):
        assert internal not in message
    return message.removeprefix(f"{path}: ")


def test_the_whole_config_loads(tmp_path: Path) -> None:
    loaded = schema.load(write(tmp_path))
    ranked, point, final = loaded.pipeline[:3]
    assert isinstance(ranked, ListwisePipeline) and isinstance(point, PointwisePipeline)
    assert isinstance(final, TournamentPipeline)
    assert (ranked.window, ranked.stride, ranked.reverse, ranked.parallel) == (40, 20, True, "tensor")
    assert point.chat_template == {"enable_thinking": False}
    assert point.select is not None and (point.select.missing, point.select.extra_unseen) == ("keep", 0)
    assert loaded.reason is not None and (loaded.reason.max_tokens, loaded.reason.limit) == (32, 600)
    assert list(loaded.language_models()) == ["reason", "list", "point", "final"]


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    path = write(tmp_path)
    shorter = WHOLE
    for line in (
        'engine = "vllm"\n', "window = 40\n", "stride = 20\n", "reverse = true\n", 'parallel = "tensor"\n',
        "group = 9\n", 'options = ["Ja", "Nein"]\n', "max_tokens = 32\n", "top_k = 60\n",
    ):  # fmt: skip
        assert line in shorter
        shorter = shorter.replace(line, "", 1)
    path.write_text(shorter)
    loaded = schema.load(path)
    ranked, point, final = loaded.pipeline[:3]
    assert isinstance(ranked, ListwisePipeline) and isinstance(point, PointwisePipeline)
    assert isinstance(final, TournamentPipeline) and loaded.reason is not None
    assert (ranked.window, ranked.stride, ranked.reverse, ranked.parallel) == (40, None, False, "data")
    assert (loaded.engine, point.options, final.group, loaded.reason.max_tokens) == ("vllm", ["Yes", "No"], 9, 64)
    assert (ranked.top_k, ranked.chunk) == (25, 16)


def test_a_stage_that_is_not_enabled_is_no_model_to_load(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(WHOLE.replace("[reason]\n", "[reason]\nenabled = false\n").replace(
        'name = "list"\n', 'name = "list"\nenabled = false\n'
    ))  # fmt: skip
    assert list(schema.load(path).language_models()) == ["point", "final"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("max_tokens = 32", "max_token = 32", "reason: unknown key 'max_token' (did you mean 'max_tokens'?); remove"),
        ('prompt = "reason.txt"', 'promt = "reason.txt"', "reason: unknown key 'promt' (did you mean 'prompt'?)"),
        ("[reason]", "[reasons]", "unknown key 'reasons' (did you mean 'reason'?)"),
        ("[vllm]", "[vlm]", "unknown key 'vlm' (did you mean 'vllm'?)"),
        ("[environment]", "[enviroment]", "unknown key 'enviroment' (did you mean 'environment'?)"),
        ("stride = 20", "strid = 20", "pipeline 1: unknown key 'strid' (did you mean 'stride'?)"),
        ("group = 9", "window = 9", "pipeline 3: unknown key 'window'"),
        ("min_score = 0.01", "min_scor = 0.01", "pipeline 2, select: unknown key 'min_scor' (did you mean 'min_score'"),
        ("top_n = 5", "topn = 5", "pipeline 4, select: unknown key 'topn' (did you mean 'top_n'?)"),
        ("load_in_4bit", "load_in_4bits", "retrieval 1, retriever 1: unknown key 'load_in_4bits' (did you mean"),
        ("query_text", "query_txt", "retrieval 1: unknown key 'query_txt' (did you mean 'query_text'?)"),
        ('model = "c"', 'model = "c"\nprompt = "x"', "pipeline 4: unknown key 'prompt'"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_named_with_the_nearest(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert refusal(write(tmp_path, old, new)).startswith(told)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("min_score = 0.01", "max_margin = -1", "pipeline 2, select: max_margin is -1; it should be greater than or"),
        ("min_score = 0.01", "min_score = true", "pipeline 2, select: min_score is True; it should be a valid number"),
        ("min_score = 0.01", "min_score = nan", "pipeline 2, select: min_score is nan; it should be"),
        ("max_top1 = 0.9", 'max_top1 = "0.9"', "pipeline 2, select: max_top1 is '0.9'; it should be a valid number"),
        ("max_top1 = 0.9", 'missing = "skip"', "pipeline 2, select: missing is 'skip'; it should be 'keep' or 'drop'"),
        ("max_top1 = 0.9", "extra_unseen = -1", "pipeline 2, select: extra_unseen is -1; it should be greater than or"),
        ("top_n = 5", "top_n = 0", "pipeline 4, select: top_n is 0; it should be greater than 0"),
        ("window = 40", "window = 53", "pipeline 1: window is 53; it should be less than or equal to 52"),
        ("window = 40", "window = 1", "pipeline 1: window is 1; it should be greater than or equal to 2"),
        ("stride = 20", "stride = 0", "pipeline 1: stride is 0; it should be greater than 0"),
        ("stride = 20", "stride = 41", "pipeline 1: listwise: stride 41 leaves gaps between windows of 40; lower it"),
        ("group = 9", "group = 53", "pipeline 3: group is 53; it should be less than or equal to 52"),
        ("group = 9", "group = 1", "pipeline 3: group is 1; it should be greater than or equal to 2"),
        ('options = ["Ja", "Nein"]', 'options = ["Ja"]', "pipeline 2: options is ['Ja']; list should have at least 2"),
        ('options = ["Ja", "Nein"]', 'options = ["a", "b", "c"]', "pipeline 2: options is ['a', 'b', 'c']; list"),
        ('parallel = "tensor"', 'parallel = "pipe"', "pipeline 1: parallel is 'pipe'; it should be 'data' or 'tensor'"),
        ("max_length = 2048", "max_length = 63", "pipeline 1: max_length is 63; it should be greater than or equal"),
        ("max_tokens = 32", "max_tokens = 0", "reason: max_tokens is 0; it should be greater than 0"),
        ('limit = "10m"', 'limit = "0s"', "reason: limit is '0s'; it should be greater than 0"),
        ('limit = "10m"', "limit = 600", "reason: limit: 600 is not a duration; write it as"),
        ('engine = "vllm"', 'engine = "vlm"', "engine is 'vlm'; it should be 'vllm' or 'transformers'"),
        ('engine = "vllm"', 'devices = ["gpu0"]', "devices 1: 'gpu0' is not a device; write \"cuda:0\", \"cuda:1\", …"),
        ('engine = "vllm"', 'devices = ["cuda:0", "cuda"]', "devices 2: 'cuda' is not a device; write"),
        ('VLLM_USE_V1 = "1"', "VLLM_USE_V1 = 1", "environment: VLLM_USE_V1 is 1; it should be a valid string"),
        ('pooling = "lasttoken"', 'pooling = "cls"', "retrieval 1, retriever 1: pooling is 'cls'; it should be 'mean'"),
        ("chat_template = { enable_thinking = false }", 'chat_template = "x"',
         "pipeline 2: chat_template is 'x'; it should be a"),
        ("vllm = { max_num_seqs = 64 }", "vllm = 3", "pipeline 2: vllm is 3; it should be a"),
        ("select = { by = \"final\", top_n = 5 }", "select = 3", "pipeline 4: select is 3; it should be a table"),
        ('kind = "tournament"', 'kind = "turnament"', "pipeline 3: kind is 'turnament' (did you mean 'tournament'?)"),
        ('prompt = "point.txt"\n', "", "pipeline 2: 'prompt' is missing; add it"),
        ('prompt = "reason.txt"\n', "", "reason: 'prompt' is missing; add it"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert refusal(write(tmp_path, old, new)).startswith(told)


@pytest.mark.parametrize("old", ['by = "list"\nmin_score = 0.01\nmax_top1 = 0.9\n'])
@pytest.mark.parametrize(
    ("select", "told"),
    [
        ("", "pipeline 2: select: selects nothing; add a threshold, top_n or extra_unseen, or remove it"),
        ('by = "list"', "pipeline 2: select: selects nothing; add a threshold"),
        ('missing = "keep"', "pipeline 2: select: selects nothing; add a threshold"),
        ("extra_unseen = 0", "pipeline 2: select: selects nothing; add a threshold"),
        ("min_score = 0.1", 'pipeline 2: select: min_score requires the ranking of another pipeline; add by = "…"'),
        ("min_top1 = 0.1", "pipeline 2: select: min_top1 requires the ranking of another pipeline"),
        ("max_top1 = 0.1", "pipeline 2: select: max_top1 requires the ranking of another pipeline"),
        ("max_margin = 0.0", "pipeline 2: select: max_margin requires the ranking of another pipeline"),
        ("top_n = 3\nextra_unseen = 1", "pipeline 2: select: top_n requires the ranking of another pipeline"),
        ('missing = "drop"\nextra_unseen = 1', "pipeline 2: select: missing requires the ranking of another pipeline"),
        (
            'by = "lst"\ntop_n = 3',
            "pipeline 'point': select.by = 'lst' is not an earlier pipeline (did you mean 'list'?)",
        ),
        ('by = "final"\ntop_n = 3', "pipeline 'point': select.by = 'final' is not an earlier pipeline"),
        ('by = "point"\ntop_n = 3', "pipeline 'point': select.by = 'point' is not an earlier pipeline"),
        ('by = "r1"\nmin_score = 0.1', "pipeline 'point': select.by = 'r1' is not an earlier pipeline"),
        ('by = "reason"\ntop_n = 3', "pipeline 'point': select.by = 'reason' is not an earlier pipeline"),
    ],
)
def test_a_select_must_have_what_it_reads(tmp_path: Path, old: str, select: str, told: str) -> None:
    assert refusal(write(tmp_path, old, f"{select}\n")).startswith(told)


@pytest.mark.parametrize("select", ["extra_unseen = 2", 'by = "list"\nmissing = "drop"', 'by = "list"\nmin_top1 = 0'])
def test_a_select_that_has_what_it_reads_is_accepted(tmp_path: Path, select: str) -> None:
    path = write(tmp_path, 'by = "list"\nmin_score = 0.01\nmax_top1 = 0.9\n', f"{select}\n")
    assert schema.load(path).pipeline_named("point").select is not None


@pytest.mark.parametrize("threshold", ["min_score", "min_top1", "max_top1", "max_margin"])
def test_a_threshold_suits_no_scores_of_a_tournament(tmp_path: Path, threshold: str) -> None:
    assert refusal(write(tmp_path, "top_n = 5", f"{threshold} = 0.5")) == (
        f"pipeline 'ce': select.{threshold} is compared with scores that tell how sure a query is, but 'final' is a "
        f"tournament, whose scores are 1/rank; use top_n, or a pipeline of another kind"
    )


def by_point(path: Path, keys: str) -> Path:
    """The config whose last `select` goes by the pointwise pipeline, which has these keys."""
    text = path.read_text().replace('by = "final"', 'by = "point"')
    path.write_text(text.replace(OPTIONS, f"{OPTIONS}\n{keys}"))
    return path


@pytest.mark.parametrize("threshold", ["min_score = 1.01", "min_score = -0.1", "min_top1 = 90", "max_margin = 2"])
@pytest.mark.parametrize("normalise", ["", 'normalise = "query"', 'normalise = "rank"'])
def test_a_threshold_for_probabilities_is_one(tmp_path: Path, threshold: str, normalise: str) -> None:
    key, value = threshold.split(" = ")
    path = write(tmp_path, "top_n = 5", threshold)
    path.write_text(
        path.read_text().replace('by = "final"', 'by = "point"').replace(OPTIONS, f"{OPTIONS}\n{normalise}")
    )
    assert refusal(path) == (
        f"pipeline 'ce': select.{key} is {value}, but the scores of 'point' are probabilities; use a number from 0 to 1"
    )


@pytest.mark.parametrize("threshold", ["min_score = -2.5", "min_top1 = 3", "max_margin = 2"])
def test_a_threshold_for_log_odds_is_any_number(tmp_path: Path, threshold: str) -> None:
    path = write(tmp_path, "top_n = 5", threshold)
    path.write_text(
        path.read_text().replace('by = "final"', 'by = "point"').replace(OPTIONS, f'{OPTIONS}\nscores = "logits"')
    )
    assert schema.load(path).pipeline_named("point").scale == LOG_ODDS


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('scores = "logits"\nnormalise = "query"', "scores = 'logits' and normalise = 'query' exclude each other"),
        ('scores = "logits"\nnormalise = "rank"', "scores = 'logits' and normalise = 'rank' exclude each other"),
        ('by = "subject"', "by parts the queries for ranks; add normalise = 'rank', or remove by"),
        ('normalise = "query"\nby = "subject"', "by parts the queries for ranks; add normalise = 'rank'"),
        ('scores = "odds"', "scores is 'odds'; it should be 'probabilities' or 'logits'"),
    ],
)
def test_a_pipeline_has_one_kind_of_scores(tmp_path: Path, keys: str, told: str) -> None:
    assert told in refusal(write(tmp_path, OPTIONS, f"{OPTIONS}\n{keys}"))


@pytest.mark.parametrize("name", values.OWNED)
@pytest.mark.parametrize(
    ("old", "place"),
    [
        ("gpu_memory_utilization = 0.9", "vllm"),
        ("max_num_seqs = 64", "pipeline 2: vllm"),
        ("max_tokens = 32", "reason: vllm"),
    ],
)
def test_an_engine_argument_that_follows_from_another_key_is_refused(
    tmp_path: Path, old: str, place: str, name: str
) -> None:
    new = f"vllm = {{ {name} = 1 }}" if old.startswith("max_tokens") else f"{name} = 1"
    assert refusal(write(tmp_path, old, new)) == f"{place}: '{name}' cannot be set here; {values.OWNED[name]}"
    assert values.OWNED["max_model_len"] == "set the stage's `max_length`"


@pytest.mark.parametrize(
    ("old", "new", "stage"),
    [
        ("gpu_memory_utilization = 0.9", "gpu_memory_utilization = 0.9", "list"),
        ("max_tokens = 32", 'parallel = "tensor"', "reason"),
    ],
)
def test_tensor_parallel_is_not_for_the_other_engine(tmp_path: Path, old: str, new: str, stage: str) -> None:
    path = write(tmp_path, old, new)
    told = f"{stage}: parallel = 'tensor' requires vLLM; set parallel = 'data' or engine = 'vllm'"
    assert refusal(path, engine="transformers") == told
    path.write_text(path.read_text().replace('engine = "vllm"', 'engine = "transformers"'))
    assert refusal(path) == told
    assert schema.load(path, engine="vllm").engine == "vllm"


def test_the_engine_is_overridden_and_checked_as_the_config_s_own(tmp_path: Path) -> None:
    path = write(tmp_path, 'parallel = "tensor"\n', "")
    assert schema.load(path).engine == "vllm"
    assert schema.load(path, engine="transformers").engine == "transformers"
    assert refusal(path, engine="tgi") == "engine is 'tgi'; it should be 'vllm' or 'transformers'"


@pytest.mark.parametrize("name", ["reason", "ensemble"])
@pytest.mark.parametrize("old", ['name = "list"', 'name = "r1"'])
def test_a_stage_s_own_name_is_not_given_to_another(tmp_path: Path, old: str, name: str) -> None:
    assert refusal(write(tmp_path, old, f'name = "{name}"')) == (
        f"the name '{name}' is reserved for another stage; choose another"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_every_config_that_comes_with_it_loads_and_has_its_prompts(path: Path) -> None:
    from cascade.models.prompters import template

    loaded = schema.load(path)
    for model in loaded.language_models().values():
        template(model, loaded)
