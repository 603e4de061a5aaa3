"""A competition in thirty lines, as a person would bring it: a comment and its kind, three guesses a row."""

from __future__ import annotations

from cascade.competitions.rows import RowCompetition


class Toy(RowCompetition):
    """train.csv: `row`, `comment`, `topic`, `kind`, `tone`; test.csv: the first three. A label is kind and tone."""

    name = "toy"
    slug = "toy-kinds-of-comments"
    columns = ("row", "guesses")
    depth = 3
    id_column = "row"
    fields = text_columns = ("comment", "topic")
    label_columns = ("kind", "tone")
    hidden_queries = 100
    hidden_labels = 6


COMPETITION = Toy()
