"""`python -m cascade.causes.reference`: the known causes as a Markdown table."""

from __future__ import annotations

import re

from cascade.causes.known import KNOWN

GROUPS = re.compile(r"( ?)((?:\{\w+\})+)")


def markdown() -> str:
    """A row for each cause: its name, what it is, and what to do; a group of the pattern is an ellipsis."""
    rows = [f"| `{known.name}` | {_plain(known.what)} | {_plain(known.mend)} |" for known in KNOWN]
    return "\n".join(["| cause | what it is | fix |", "|---|---|---|", *rows]) + "\n"


def _plain(text: str) -> str:
    return GROUPS.sub(r"\1…", text)


if __name__ == "__main__":
    print(markdown(), end="")
