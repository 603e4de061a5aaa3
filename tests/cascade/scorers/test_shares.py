"""What share of a model's probability the options hold, and what is said where it would rather say something else."""

from __future__ import annotations

import math

import pytest

from cascade.scorers.shares import Share, Shares


def shares(options: list[str], found: list[Share]) -> Shares:
    made = Shares(options)
    made.add(found)
    return made


def test_mean_low_quantile_and_the_likeliest_other_token_are_kept() -> None:
    found = [(0.1 * n, "" if n > 4 else "Well") for n in range(11)]
    assert shares(["A", "B"], [*found, (math.nan, "?")]).facts() == {
        "prompts": 11, "mean": 0.5, "quantile_0.1": 0.1, "rather": "Well", "rather_prompts": 5,
    }  # fmt: skip
    assert shares(["A"], [(0.9, "")]).facts() == {"prompts": 1, "mean": 0.9, "quantile_0.1": 0.9}
    assert shares(["A"], []).facts() == {}


def test_only_below_one_per_cent_is_anything_said() -> None:
    assert shares(["A"], [(0.02, "x"), (0.0, "x")]).warning() == ""
    assert shares(["A"], []).warning() == shares(["A"], [(math.nan, "x")]).warning() == ""
    said = shares(["A"], [(0.015, "x"), (0.0, ""), (0.0, "x")]).warning()
    assert said.startswith("the options have 0.5 % of the model's probability (mean of 3 prompts); ")
    assert "; it prefers 'x' (2 of 3 prompts); " in said


@pytest.mark.parametrize(
    ("rather", "mend"),
    [
        ("<think>", "set chat_template = { enable_thinking = false }"),
        ("<seed:think>", "set chat_template = { enable_thinking = false }"),
        ("</think>", "set chat_template = { enable_thinking = false }"),
        (" Yes", "end the template so that an answer begins as the options do, or write them as ' Yes' is"),
        ("yes", "end the template so that an answer begins as the options do, or write them as 'yes' is"),
        ("The", "state in the template that the answer is only one of the options"),
        ("\n\n", "state in the template that the answer is only one of the options"),
        ("", "state in the template"),
    ],
)
def test_the_mend_goes_by_the_likeliest_cause(rather: str, mend: str) -> None:
    said = shares(["Yes", "No"], [(1e-5, rather)] * 3).warning()
    assert said.rpartition("; ")[2].startswith(mend)
    assert ("it prefers" in said) == bool(rather)
