"""Texts as HTML, and that no text takes longer than its length asks for."""

from __future__ import annotations

import pytest

from cascade.report import markup
from cascade.report.page import mathml


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a ![the graph](p.png) b", "a <i>[picture: the graph]</i> b"),
        ("![ ](p.png)![x", "<i>[picture]</i>![x"),
        ("![x](open ![y](z)", "<i>[picture: x]</i>"),
        ("\\(x\\) \\(y", "{\\(x\\)} \\(y"),
        ("\\[x\\]\n\\[y\\]", "{\\[x\\]\n}{\\[y\\]}"),
        ("a\n\\[x\\]\nb", "a{\n\\[x\\]\n}b"),
        ("\\begin{array}\\begin{b}\\end{array}\\end{b}", "{\\begin{array}\\begin{b}\\end{array}}\\end{b}"),
        ("\\begin{a*}1\\end{a}2\\end{a*}", "{\\begin{a*}1\\end{a}2\\end{a*}}"),
    ],
)
def test_pictures_and_formulas_are_found(text: str, shown: str) -> None:
    assert markup.as_html(text, lambda found: f"{{{found}}}") == shown


@pytest.mark.parametrize(
    "text",
    ["\\(" * 100_000, "![" * 100_000, "![" + "](" * 100_000, "".join(f"\\begin{{a{n}}}" for n in range(50_000))],
    ids=["formulas", "pictures", "addresses", "environments"],
)
def test_what_is_never_closed_stays_text(text: str) -> None:
    """An expression that looks for each one's end anew takes time by the square of the length."""
    assert markup.as_html(text) == text


@pytest.mark.parametrize("body", ["\\\\[" * 50_000, "\\cline{" * 50_000], ids=["rows", "rules"])
def test_a_broken_table_is_read_once(body: str) -> None:
    assert mathml.formula(f"\\begin{{tabular}}{body}\\end{{tabular}}").startswith("<table>")


def test_a_formula_of_the_length_of_a_book_is_shown_as_it_stands() -> None:
    assert mathml.formula(r"\(" + "x^2+" * 5000 + r"\)").startswith("<code>")
    assert mathml.formula(r"\(" + "x^2+" * 50 + r"x\)").startswith("<math")
