"""Reads submission.csv all along, by its own understanding of what is valid, and notes what it saw."""

from __future__ import annotations

import csv
import io
import threading
import time
from pathlib import Path

EVERY = 0.02  # seconds between two readings
LETTERS = "ABCD"
# Columns and a row's labels: of Eedi, whose labels are numbers, and of MAP 2025, whose are names.
EEDI, MAP = (["QuestionId_Answer", "MisconceptionId"], 25), (["row_id", "Category:Misconception"], 3)


def expected_ids(test: Path) -> list[str]:
    """What the competition asks for: of Eedi QuestionId_Answer of each wrong answer, of MAP 2025 each row_id."""
    with test.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if "row_id" in rows[0]:
        return [row["row_id"] for row in rows]
    return [f"{row['QuestionId']}_{letter}" for row in rows for letter in LETTERS if letter != row["CorrectAnswer"]]


def fault_of(text: str, ids: list[str], known: int | set[str]) -> str:
    """What is wrong with a submission's text; empty where nothing is. `known`: ids are below it, or names."""
    (header, length), rows = EEDI if isinstance(known, int) else MAP, list(csv.reader(io.StringIO(text)))
    names = set(map(str, range(known))) if isinstance(known, int) else known
    if not text.endswith("\n") or not rows or rows[0] != header:
        return "no header, or a last line that is cut off"
    if any(len(row) != 2 for row in rows):
        return "a row without two cells"
    if [row[0] for row in rows[1:]] != ids:
        return f"{len(rows) - 1} rows that are not the test's {len(ids)}"
    for _, cell in rows[1:]:
        if not len(cell.split()) == len({*cell.split()} & names) == length:
            return f"a row without {length} different known labels: {cell[:80]}"
    return ""


class Watcher:
    """Looks from its making until `stop`. `first`: Unix time of the first valid file; `faults`: what was wrong."""

    def __init__(self, path: Path, test: Path) -> None:
        self.path, self.ids = path, expected_ids(test)
        mapping = test.with_name("misconception_mapping.csv")
        self.known: int | set[str]
        with (mapping if mapping.exists() else test.with_name("train.csv")).open(encoding="utf-8", newline="") as file:
            labels = list(csv.DictReader(file))
        if mapping.exists():
            self.known = 1 + max(int(row["MisconceptionId"]) for row in labels)
        else:
            self.known = {f"{row['Category']}:{row['Misconception']}" for row in labels}
        self.first = 0.0
        self.faults: list[str] = []
        self._last: str | None = None
        self._noted = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self._look()

    def _look(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            if self.first:
                self._note("it is gone")
            return
        except (OSError, UnicodeError) as error:
            self._note(f"it cannot be read: {error}")
            return
        if text == self._last:
            return
        self._last = text
        if fault := fault_of(text, self.ids, self.known):
            self._note(fault)
        else:
            self.first = self.first or time.time()

    def _note(self, fault: str) -> None:
        if self._noted != fault:
            self._noted = fault
            self.faults.append(f"{time.time():.2f}: {fault}")
