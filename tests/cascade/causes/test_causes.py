"""The root cause in logs of every form: the first exception of the first process that died, and the known causes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.causes import find, lines, reference
from cascade.causes.find import root_cause
from cascade.causes.known import KNOWN
from cascade.config import reference as keys
from cascade.config.values import OWNED
from tests.cascade.causes import forms
from tests.cascade.causes.cases import CASES, OOM

VLLM = json.loads((ROOT / "wheels" / "vllm-0.19.1.json").read_text(encoding="utf-8"))
CONFIG_KEYS = {name for _, model in keys.TABLES for name in model.model_fields}
# Variables of the engine's processes that are none of vLLM's own: NCCL's and Triton's documentation has them.
OTHERS = {"NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "CC"}


def test_each_known_cause_has_a_log() -> None:
    assert len(KNOWN) >= 25 and [known.name for known in KNOWN] == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_known_cause_is_found_with_its_exception_and_file(name: str) -> None:
    case = CASES[name]
    cause = root_cause(case.log)
    assert cause is not None and cause.name == name
    assert cause.error.startswith(case.error.removeprefix(": ")), cause.error
    assert case.where == cause.where
    assert cause.process == case.process
    assert case.what in cause.what, cause.what
    assert cause.mend and "{" not in cause.what + cause.mend
    assert len(f"{cause.sentence}. Fix: {cause.mend}") <= 250
    assert "\n" not in cause.error + cause.sentence


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_fix_names_what_exists(known: find.Known) -> None:
    assert re.fullmatch(r"[\w.-]+/[\w.-]+ (?:issue|pull request) \d+", known.source)
    assert len(known.mend) <= 90 and "; " not in known.mend + known.what
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for key in known.keys:
        table, _, name = key.rpartition(".")
        assert (name or key) in known.mend, key
        if key.startswith("make "):
            assert re.search(rf"^{key.removeprefix('make ')}:.*##", makefile, re.MULTILINE), key
        elif table == "vllm":
            assert name in VLLM["engine_arguments"] and name not in OWNED, key
        elif table == "environment":
            assert name in OTHERS or name in VLLM["environment"], key
        else:
            assert key in CONFIG_KEYS, key
    named = set(re.findall(r"make [a-z-]+", known.mend))
    assert named == {key for key in known.keys if key.startswith("make ")}


def test_the_page_has_the_table() -> None:
    assert reference.markdown() in (ROOT / "docs" / "failed-starts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "log", [forms.INNOCENT * 200, forms.INNOCENT + forms.WARNED, "", "\n \r\n\x1b[31m", "0" * 9999]
)
def test_an_innocent_log_tells_of_nothing(log: str) -> None:
    assert root_cause(log) is None


def test_what_is_ignored_or_told_below_a_failure_is_not_its_cause() -> None:
    below = [
        "Exception ignored in: <function LLM.__del__ at 0x7f>",
        *forms.traceback("AttributeError: 'LLM' object has no attribute 'engine'", "vllm/llm.py:9 __del__"),
        "ERROR: pip's dependency resolver does not currently take into account all packages",
    ]
    cause = root_cause(CASES["shared-library"].log + "\n".join(below))
    assert cause is not None and cause.name == "shared-library"


def test_a_handled_exception_above_is_not_the_cause_of_an_unhandled_one() -> None:
    handled = "\n".join(forms.traceback(OOM, "cascade/report/figures.py:3 draw"))
    cause = root_cause(f"{handled}\nno picture\n{forms.notebook('KeyError: 7', 'pandas/core.py:3 get')}")
    assert cause is not None and (cause.error, cause.where) == ("KeyError: 7", "pandas/core.py:3")


CHAINS = {
    ("KeyError: 1", True, "ValueError: two"): "KeyError: 1",
    ("KeyError: 1", False, "ValueError: two"): "ValueError: two",  # a lookup, told better by what answers it
    ("OSError: one", False, "AttributeError: in the clean-up"): "OSError: one",
}


@pytest.mark.parametrize(("chain", "root"), CHAINS.items(), ids=str)
@pytest.mark.parametrize("form", [forms.plain, forms.notebook], ids=["python", "ipython"])
def test_the_root_of_a_chain(chain: tuple[str, bool, str], root: str, form: object) -> None:
    first, direct, second = chain
    between = "The above exception was the direct cause of the following exception:" if direct else (
        "During handling of the above exception, another exception occurred:")  # fmt: skip
    assert form in (forms.plain, forms.notebook)
    if form is forms.notebook:
        name = second.partition(":")[0]
        log = forms.notebook(first, "a/b.py:1 f") + f"{between}\n\n{name}        Traceback (most recent call last)\n"
        log += f"File /x/site-packages/c/d.py:2, in g(x)\n----> 2 raise\n\n{second}\n"
    else:
        log = forms.plain(first, "a/b.py:1 f") + "\n".join(["", between, "", *forms.traceback(second, "c/d.py:2 g")])
    cause = root_cause(log)
    assert cause is not None and cause.error == root
    assert cause.where == ("a/b.py:1" if root == first else "c/d.py:2")


def test_a_child_of_multiprocessing_and_a_thread_go_by_their_names() -> None:
    said = forms.traceback("RuntimeError: odd", f"{forms.MULTIPROCESSING}:314 _bootstrap", "m/n.py:4 run")
    end = forms.traceback("RuntimeError: Engine core initialization failed. See root cause above.", "v/l.py:1 f")
    for line, name in (
        ("Process SpawnProcess-1:", "SpawnProcess-1"),
        ("Exception in thread Thread-3 (f):", "Thread-3"),
    ):
        cause = root_cause("\n".join([line, *said, *end]))
        assert cause is not None and (cause.sentence, cause.mend) == (f"RuntimeError: odd ({name}, m/n.py:4)", "")


def test_an_error_of_this_project_keeps_its_own_fix() -> None:
    cause = root_cause(
        forms.notebook("TableError: run/c.parquet: no such table; run reason.ipynb first", "cascade/r.py:44 read")
    )
    assert cause is not None and cause.what == "run/c.parquet: no such table" and cause.mend == "run reason.ipynb first"
    cause = root_cause("usage\nerror: config.toml: pipeline: is no table; correct it\n")
    assert cause is not None and (cause.what, cause.mend) == ("config.toml: pipeline: is no table", "correct it")


def test_what_cplusplus_throws_is_an_exception() -> None:
    cause = root_cause(
        "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: out of memory\n"
    )
    assert cause is not None and cause.name == "gpu-memory" and cause.error == "c10::Error: CUDA error: out of memory"


@pytest.mark.parametrize("name", ["gpu-memory-load", "remote-code", "disk-full", "killed"])
def test_a_log_may_be_cut_anywhere_and_be_no_text(name: str, tmp_path: Path) -> None:
    whole = CASES[name].log.encode()
    path = tmp_path / "a.log"
    for cut in range(0, len(whole), 101):
        path.write_bytes(whole[cut:])
        find.root_cause_of(path)
        path.write_bytes(whole[:cut] + b"\xff\xfe\x00")
        find.root_cause_of(path)
    path.write_bytes(whole.replace(b" ", b" \xf0\x9f"))
    find.root_cause_of(path)
    assert find.root_cause_of(tmp_path / "none.log") is None
    begun = CASES["shared-library"].log.partition("Traceback (most recent call last):\n")[2]  # its head is lost
    cause = root_cause(begun)
    assert cause is not None and cause.name == "shared-library"


def test_a_line_without_end_is_read_in_pieces_and_what_follows_it_all_the_same() -> None:
    class Counted(io.BytesIO):
        most = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            piece = super().readline(size)
            self.most = max(self.most, len(piece))
            return piece

    file = Counted(b"\r50%|#####" * 700_000 + b"\n" + CASES["length"].log.encode())
    read = list(lines.of_file(file))
    assert file.most == lines.PIECE and max(len(line.text) for line in read) <= lines.LONGEST
    assert read[-1].text.strip().startswith("Value error")


def test_a_message_that_terminals_obey_is_harmless() -> None:
    cause = root_cause(forms.plain("ValueError: \x1b]52;c;aaaa\x07 " + "x" * 5000, "a/b.py:1 f"))
    assert cause is not None and "\x1b" not in cause.sentence and len(cause.sentence) < 180 and len(cause.error) <= 500
