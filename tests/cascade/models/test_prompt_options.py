"""Each option is one token, the one that stands behind its prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers

from cascade.base.errors import PromptError
from cascade.models.prompts import LETTERS
from tests.prompting import CHAT, make_tokenizer, prompter


def test_options_are_the_tokens_that_stand_behind_the_prompt(path: Path, tokenizer: Any) -> None:
    made = prompter(path, CHAT, tokenizer)
    found = made.option_ids(["Yes", "No"])
    assert tokenizer.convert_ids_to_tokens(found) == ["Yes", "No"]
    letters = prompter(path, "=== user\n{{ options }}\n", tokenizer).option_ids(LETTERS)
    assert tokenizer.convert_ids_to_tokens(letters) == list(LETTERS)


def test_what_stands_before_the_answer_decides_which_token_an_option_is(path: Path, tokenizer: Any) -> None:
    """Behind a colon `Yes` begins with a space: an option of its own."""
    source = "=== user\n{{ candidate }}\n=== assistant\nAnswer:\n"
    made = prompter(path, source, tokenizer)
    assert tokenizer.convert_ids_to_tokens(made.option_ids([" Yes", " No"])) == ["ĠYes", "ĠNo"]
    plain = prompter(path, "{{ candidate }}\nAnswer:", tokenizer)
    assert tokenizer.convert_ids_to_tokens(plain.option_ids([" Yes", " No"])) == ["ĠYes", "ĠNo"]


@pytest.mark.parametrize("options", [["Yes", "Maybe"], ["Maybe", "No"]])
def test_an_option_of_several_tokens_is_refused_by_name(path: Path, tokenizer: Any, options: list[str]) -> None:
    with pytest.raises(PromptError, match=r"option 'Maybe' is [2-5] tokens of this tokenizer \(\['M', .*\), not one"):
        prompter(path, CHAT, tokenizer).option_ids(options)


def test_an_option_that_grows_together_with_what_stands_before_it_is_refused(path: Path, tokenizer: Any) -> None:
    """Alone `Yes` is one token, but a space before it belongs to it: the prompt would end within a token."""
    with pytest.raises(PromptError, match=r"option 'Yes' is .* end the template differently"):
        prompter(path, "{{ candidate }} ", tokenizer).option_ids(["Yes", "No"])


def test_an_option_that_cuts_what_stands_before_it_differently_is_refused(path: Path) -> None:
    """`ab` is a token, and so is `bc`, which goes first: behind `ab` the option `c` makes it `a` and `bc`."""
    tokenizer = make_tokenizer(words=["bc bc bc bc ab ab"])
    assert [tokenizer.tokenize(text) for text in ("ab", "abc")] == [["ab"], ["a", "bc"]]
    with pytest.raises(PromptError, match=r"option 'c' is not one token of its own after '.*ab': the two"):
        prompter(path, "{{ candidate }}\nab", tokenizer).option_ids(["c"])


def test_two_options_that_are_the_same_token_are_refused(path: Path, tokenizer: Any) -> None:
    with pytest.raises(PromptError, match="options 'Yes' and 'Yes' are the same token; rename one"):
        prompter(path, CHAT, tokenizer).option_ids(["Yes", "Yes"])
    wide = make_tokenizer(normalizer=normalizers.NFKC())  # reads the wide letter as the usual one
    with pytest.raises(PromptError, match="options 'A' and 'Ａ' are the same token; rename one"):
        prompter(path, CHAT, wide).option_ids(["B", "A", "Ａ"])
