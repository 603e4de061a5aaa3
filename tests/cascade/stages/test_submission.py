"""submission.csv and submission zero: written whole or not at all, and checked in full."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cascade.base.errors import TableError
from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.stages import baseline
from tests.conftest import drop_column, read_rows, set_cell, write_rows
from tests.eedi import asked, rows_of

KNOWN = set(range(30))
QUERIES = ["20_A", "20_B", "21_D"]
ROWS = {query: [(7 * i + start) % 30 for i in range(25)] for start, query in enumerate(QUERIES)}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "submission.csv"
    submission.write(ROWS, asked([]), path)
    return path


def test_round_trip(written: Path) -> None:
    assert rows_of(written) == ROWS
    submission.validate(written, asked(QUERIES, KNOWN))


def test_file_is_what_the_competition_asks_for(written: Path) -> None:
    lines = written.read_text().split("\n")
    assert lines[0] == "QuestionId_Answer,MisconceptionId"
    assert lines[1] == "20_A," + " ".join(map(str, ROWS["20_A"]))
    assert len(lines) == 5
    assert lines[4] == ""


def line(text: str, number: int, new: str) -> str:
    lines = text.split("\n")
    lines[number] = new
    return "\n".join(lines)


def ids(count: int, last: int | None = None) -> str:
    return " ".join(map(str, [*range(count), *([] if last is None else [last])]))


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "24 ids": (lambda text: line(text, 2, f"20_B,{ids(24)}"), "20_B: has 24 distinct labels, not 25"),
    "26 ids": (lambda text: line(text, 2, f"20_B,{ids(26)}"), "20_B: has 26 distinct labels, not 25"),
    "an id twice": (lambda text: line(text, 1, f"20_A,{ids(24, 3)}"), "20_A: has 24 distinct labels"),
    "an id twice beside 25 others": (lambda text: line(text, 1, f"20_A,{ids(25, 3)}"), "20_A"),
    "no ids": (lambda text: line(text, 1, "20_A,"), "20_A: has 0 distinct labels"),
    "unknown id": (lambda text: line(text, 3, f"21_D,{ids(24, 30)}"), "21_D: has an id that no label has"),
    "negative id": (lambda text: line(text, 3, f"21_D,{ids(24, -1)}"), "21_D: has an id that no label has"),
    "id is no number": (lambda text: line(text, 3, f"21_D,{ids(24)} x"), "not a submission"),
    "id is not a whole number": (lambda text: line(text, 3, f"21_D,{ids(24)} 24.0"), "not a submission"),
    "row missing at the end": (lambda text: "\n".join([*text.split("\n")[:3], ""]), "the number of rows"),
    "row missing at the start": (lambda text: "\n".join([text.split("\n")[0], *text.split("\n")[2:]]), "20_B"),
    "row too many": (lambda text: f"{text}21_E,{ids(25)}\n", "the number of rows"),
    "rows in another order": (lambda text: "\n".join([text.split("\n")[i] for i in (0, 2, 1, 3, 4)]), "20_B"),
    "row twice": (lambda text: f"{text}20_A,{ids(25)}\n", "20_A occurs twice"),
    "other header": (lambda text: line(text, 0, "QuestionId_Answer,MisconceptionIds"), "columns are"),
    "columns swapped": (lambda text: line(text, 0, "MisconceptionId,QuestionId_Answer"), "columns are"),
    "third column": (lambda text: line(text, 0, "QuestionId_Answer,MisconceptionId,Score"), "columns are"),
    "cell too many": (lambda text: line(text, 2, f"20_B,{ids(25)},1"), "not a submission"),
    "no header": (lambda text: text.split("\n", 1)[1], "columns are"),
    "header only": (lambda text: text.split("\n")[0] + "\n", "the number of rows"),
    "empty": (lambda text: "", "not a submission"),
    "a NUL": (lambda text: line(text, 2, f"20_B,{ids(24)} 24\0x"), "not a submission"),
    "a NUL in a key": (lambda text: line(text, 2, f"20_B\0,{ids(25)}"), "20_B"),
    "a quote that is never closed": (lambda text: line(text, 2, f'20_B,"{ids(25)}'), "a quote is not closed"),
    "a key with quotes in it": (lambda text: line(text, 2, f'"20""_B",{ids(25)}'), '20"_B'),
    "semicolons": (lambda text: text.replace(",", ";"), "separated by ';'"),
    "digits of another script": (lambda text: line(text, 2, f"20_B,{ids(24)} ٢٤"), "is not a whole number"),
    "an underscore in a number": (lambda text: line(text, 2, f"20_B,{ids(24)} 2_4"), "is not a whole number"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_validate_refuses(written: Path, case: str) -> None:
    spoil, told = BROKEN[case]
    written.write_text(spoil(written.read_text()))
    with pytest.raises(TableError) as caught:
        submission.validate(written, asked(QUERIES, KNOWN))
    message = str(caught.value)
    assert message.startswith(f"{written}: ")
    assert told in message
    assert caught.value.mend == "run again"
    assert "\n" not in message


def test_validate_refuses_every_truncation(written: Path) -> None:
    whole = written.read_bytes()
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        with pytest.raises(TableError):
            submission.validate(written, asked(QUERIES, KNOWN))


@pytest.mark.parametrize("key", ["a\0b_A", 'a"b_A', "a,b_A", "a\nb_A", " a_A ", "NA", "é_A", "1e3_A"])
def test_any_key_is_read_back_as_it_was_written(tmp_path: Path, key: str) -> None:
    path = tmp_path / "submission.csv"
    submission.write({key: list(range(25)), "20_A": list(range(25))}, asked([]), path)
    submission.validate(path, asked([key, "20_A"], KNOWN))


@pytest.mark.parametrize("id_", ["2\r\n0", "2\n0", "2\x000", '2"0', "2,0", "2 0"])
def test_the_run_submission_zero_and_the_last_check_agree_on_any_question_id(
    folder: Path, tmp_path: Path, id_: str
) -> None:
    """Else a finished submission would be judged by other keys than it was written with, and give way."""
    set_cell(folder / "test.csv", 1, "QuestionId", id_)
    (folder / "test_labels.csv").unlink()
    keys = EEDI.read(folder).asked
    assert list(baseline.write(EEDI.outline(folder), tmp_path / "out")) == keys
    submission.validate(tmp_path / "out/submission.csv", asked(keys, KNOWN))
    assert baseline.is_valid(tmp_path / "out/submission.csv", EEDI.outline(folder))


@pytest.mark.parametrize("raw", [b"\xff\xfeQ\0", b"\xe9,\n", b'"'])
def test_a_sample_submission_that_cannot_be_read_is_one_sentence(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "sample_submission.csv").write_bytes(raw)
    [told] = submission.check_against_sample(tmp_path, asked(QUERIES))
    assert "\n" not in told and told.startswith("sample_submission.csv: ")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"nothing\.csv"):
        submission.validate(tmp_path / "nothing.csv", asked(QUERIES, KNOWN))


class StoppedError(Exception):
    pass


class StopsHalfway(Sequence[int]):
    """25 ids, the eleventh of which is never reached."""

    def __len__(self) -> int:
        return 25

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        if index == 10:
            raise StoppedError
        return index

    def __iter__(self) -> Iterator[int]:
        return (self[index] for index in range(25))


def test_exception_while_writing_leaves_the_old_file(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(StoppedError):
        submission.write({**ROWS, "21_D": StopsHalfway()}, asked([]), written)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_failed_replacement_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "submission.csv").mkdir()  # a folder in the way: everything but the last step succeeds
    with pytest.raises(OSError, match=r"submission\.csv"):
        submission.write(ROWS, asked([]), tmp_path / "submission.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["submission.csv"]


def test_write_replaces_and_leaves_no_temporary_file(written: Path) -> None:
    submission.write({"20_A": list(range(25))}, asked([]), written)
    assert rows_of(written) == {"20_A": list(range(25))}
    assert list(written.parent.iterdir()) == [written]


def sample_file(tmp_path: Path, text: str) -> Path:
    """The folder that holds it."""
    (tmp_path / "sample_submission.csv").write_text(text)
    return tmp_path


HEADER = "QuestionId_Answer,MisconceptionId\n"


@pytest.mark.parametrize(
    "text",
    [HEADER + "20_A,1 2\n20_B,\n21_D,3\n", "\ufeff" + HEADER + "21_D,1\n20_A,1\n20_B,1\n"],
    ids=["equal", "other order and a byte-order mark"],
)
def test_agreeing_sample_submission_says_nothing(tmp_path: Path, text: str) -> None:
    assert submission.check_against_sample(sample_file(tmp_path, text), asked(QUERIES)) == []


def test_absent_sample_submission_says_nothing(tmp_path: Path) -> None:
    assert submission.check_against_sample(tmp_path, asked(QUERIES)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("QuestionId_Answer,Misconceptions\n20_A,1\n", "columns are ['QuestionId_Answer', 'Misconceptions']"),
        (HEADER + "20_A,1\n20_B,1\n", "1 rows differ from test.csv's, 21_D first"),
        (HEADER + "20_A,1\n20_B,1\n21_D,1\n19_C,1\n", "1 rows differ from test.csv's, 19_C first"),
        (HEADER + ",1\n20_A,1\n20_B,1\n21_D,1\n", "1 rows differ"),
        (HEADER + "NA,1\n1_A,1\n", "5 rows differ"),
        (HEADER, "3 rows differ"),
    ],
    ids=["columns", "row missing", "row too many", "empty key", "all others", "header only"],
)
def test_other_sample_submission_is_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    said = submission.check_against_sample(sample_file(tmp_path, text), asked(QUERIES))
    assert len(said) == 1
    assert said[0].startswith("sample_submission.csv: ")
    assert told in said[0]
    assert "; check" in said[0]


def test_sample_submission_that_is_no_table_is_told(tmp_path: Path) -> None:
    (told,) = submission.check_against_sample(sample_file(tmp_path, ""), asked(QUERIES))
    assert told.startswith("sample_submission.csv: not a CSV table")


def test_reading_a_folder_warns_of_another_sample_submission(folder: Path) -> None:
    (folder / "sample_submission.csv").write_text(HEADER + "20_A,1\n")
    warnings = EEDI.read(folder).warnings
    assert len(warnings) == 1
    assert "8 rows differ" in warnings[0]


def queries_of(folder: Path) -> list[str]:
    return [str(query) for query in EEDI.read(folder).queries["query_id"]]


def test_zero_is_valid(folder: Path, tmp_path: Path) -> None:
    baseline.write(EEDI.outline(folder), tmp_path / "made" / "out")
    for name in ("submission.csv", baseline.FILE):
        submission.validate(tmp_path / "made" / "out" / name, asked(queries_of(folder), KNOWN))


def test_zero_ranks_the_misconception_with_the_query_s_words_first(folder: Path) -> None:
    name = "Thinks quadrilaterals rotate anticlockwise"
    set_cell(folder / "misconception_mapping.csv", 20, "MisconceptionName", name)
    set_cell(folder / "test.csv", 2, "QuestionText", "How many quadrilaterals rotate anticlockwise?")
    rows = baseline.rows(EEDI.outline(folder))
    assert [rows[f"21_{answer}"][0] for answer in "BCD"] == [19, 19, 19]
    assert rows["20_A"][0] != 19


def test_zero_ranks_by_id_where_there_is_no_word_at_all(folder: Path) -> None:
    path = folder / "misconception_mapping.csv"
    header, *rows = read_rows(path)
    write_rows(path, [header, *([id_, ""] for id_, _ in rows)])
    assert set(map(tuple, baseline.rows(EEDI.outline(folder)).values())) == {tuple(range(25))}


def test_zero_takes_any_ids_of_the_mapping(folder: Path, tmp_path: Path) -> None:
    path = folder / "misconception_mapping.csv"
    header, *rows = read_rows(path)
    write_rows(path, [header, *([f"{1000 - 7 * int(id_)}.0", name] for id_, name in rows)])
    baseline.write(EEDI.outline(folder), tmp_path)
    submission.validate(
        tmp_path / "submission.csv", asked(zero_keys(folder / "test.csv"), {1000 - 7 * id_ for id_ in range(30)})
    )


def zero_keys(test: Path) -> list[str]:
    header, *rows = read_rows(test)
    right = header.index("CorrectAnswer")
    return [f"{row[0]}_{answer}" for row in rows for answer in "ABCD" if answer != row[right]]


def byte_order_mark(test: Path) -> None:
    test.write_bytes(b"\xef\xbb\xbf" + test.read_bytes())


def crlf(test: Path) -> None:
    test.write_bytes(test.read_bytes().replace(b"\n", b"\r\n"))


def latin_1(test: Path) -> None:
    raw = test.read_bytes()
    assert "“and”".encode() in raw
    test.write_bytes(raw.replace("“and”".encode(), "é".encode("latin-1")))


def empty_question(test: Path) -> None:
    set_cell(test, 2, "QuestionText", "")


def extra_columns(test: Path) -> None:
    rows = read_rows(test)
    write_rows(test, [[*rows[0], "Notes", "Difficulty"], *([*row, "x", ""] for row in rows[1:])])


def no_construct_name(test: Path) -> None:
    drop_column(test, "ConstructName")


def no_answer_texts(test: Path) -> None:
    for letter in "ABCD":
        drop_column(test, f"Answer{letter}Text")


def spaces_around_cells_and_names(test: Path) -> None:
    rows = read_rows(test)
    rows = [[f" {cell} " for cell in rows[0]], *rows[1:]]
    write_rows(test, rows)
    set_cell(test, 1, " CorrectAnswer ", " C ")


def short_row(test: Path) -> None:
    rows = read_rows(test)
    write_rows(test, [*rows[:-1], rows[-1][:-2]])


ODD = [
    byte_order_mark,
    crlf,
    latin_1,
    empty_question,
    extra_columns,
    no_construct_name,
    no_answer_texts,
    spaces_around_cells_and_names,
    short_row,
]


@pytest.mark.parametrize("spoil", ODD, ids=lambda spoil: spoil.__name__)
def test_zero_makes_a_valid_file_of_an_odd_test(folder: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    keys = queries_of(folder)
    spoil(folder / "test.csv")
    baseline.write(EEDI.outline(folder), tmp_path)
    submission.validate(tmp_path / "submission.csv", asked(keys, KNOWN))


@pytest.mark.filterwarnings("ignore:Length of header:pandas.errors.ParserWarning")
def test_zero_is_not_led_astray_by_a_comma_too_many_in_every_row(folder: Path, tmp_path: Path) -> None:
    keys = queries_of(folder)
    header, *rows = read_rows(folder / "test.csv")
    write_rows(folder / "test.csv", [header, *([*row, ""] for row in rows)])
    baseline.write(EEDI.outline(folder), tmp_path)
    submission.validate(tmp_path / "submission.csv", asked(keys, KNOWN))


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "cascade" in loaded or "packer" in loaded
    return loaded


HEAVY = {"torch", "transformers", "sentence_transformers", "faiss", "vllm", "peft"}


def test_zero_needs_pandas_and_scikit_learn_only() -> None:
    loaded = modules_after("import cascade.stages.baseline")
    assert not loaded & (HEAVY | {"pydantic", "typer", "papermill", "nbformat"})
    assert {name for name in loaded if name.split(".")[0] == "cascade"} == {
        "cascade",
        "cascade.base",
        "cascade.base.atomic",
        "cascade.base.csv_reader",
        "cascade.base.errors",
        "cascade.competitions",
        "cascade.competitions.base",
        "cascade.competitions.submission",
        "cascade.rankings",
        "cascade.rankings.fusion",
        "cascade.rankings.tables",
        "cascade.retrievers",
        "cascade.retrievers.tfidf",
        "cascade.stages",
        "cascade.stages.baseline",
    }


LIGHT = [
    "cascade",
    "cascade.config.schema",
    "cascade.competitions.eedi",
    "cascade.rankings.tables",
    "cascade.run.conductor",
    "cascade.__main__",
]
PACKER = ["packer"] if (ROOT / "packer" / "__init__.py").is_file() else []


@pytest.mark.parametrize("module", [*LIGHT, *PACKER])
def test_importing_loads_no_engine(module: str) -> None:
    assert not modules_after(f"import {module}") & HEAVY
