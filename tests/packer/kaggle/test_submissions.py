import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from packer.__main__ import app
from packer.kaggle import state, submissions, watch
from packer.kaggle.runs import Run
from packer.kaggle.session import KaggleError, Session
from packer.kaggle.state import Pushed
from packer.kaggle.submissions import SubmissionError
from tests.kaggle_server import CutError, KaggleServer, RefusalError
from tests.kaggle_server.competitions import SUBMISSION, SUBMIT, Competitions
from tests.kaggle_server.kernels import Kernels, Version

RUN = Run("ada", "eedi-cascade", 1)
PUSHED = Pushed("ada", "eedi-cascade", 1, "", "eedi", "configs/t.toml", "t4", "", False, "2026-11-20T09:00:00+00:00")
BEGUN = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """Kaggle with one version whose run is complete."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with KaggleServer() as server, server.login(monkeypatch):
        server.kernels, server.competitions = Kernels(server), Competitions(server, eedi=True)
        server.kernels.kept["ada/eedi-cascade"] = [Version(pages=[["ledger.jsonl"], ["submission.csv"]])]
        yield server


def session(patience=2.0):
    return Session(patience=patience, pause=0.01)


def submit(**settings):
    return submissions.submit(session(), PUSHED, RUN, sleep=lambda _: None, **settings)


def test_a_complete_version_is_submitted_by_its_number(kaggle):
    assert submit() == 100
    body = next(call.body for call in kaggle.requests if call.method == SUBMIT)
    assert body == {
        "competitionName": "eedi",
        "kernelOwner": "ada",
        "kernelSlug": "eedi-cascade",
        "kernelVersion": 1,
        "fileName": "submission.csv",
        "submissionDescription": "eedi-cascade version 1",
    }
    assert submissions.last(session(), "eedi") == 100
    assert submissions.what_is_left(session(), "eedi") == "left: submissions today 5, GPU hours this week 21.5"


def test_the_last_submission_is_kaggles_where_none_was_made_from_here(kaggle):
    with pytest.raises(SubmissionError, match="eedi: nothing was submitted yet"):
        submissions.last(session(), "eedi")
    dates = {7: "2026-11-20T10:00:00Z", 9: "2026-11-21T10:00:00Z", 8: "2026-11-19T10:00:00Z"}
    kaggle.competitions.made = {ref: {"ref": ref, "date": date} for ref, date in dates.items()}
    assert submissions.last(session(), "eedi") == 9


def test_a_newer_submission_of_kaggles_pages_is_the_last_and_that_is_said(kaggle):
    submit()
    said = []
    assert submissions.last(session(), "eedi", said.append) == 100
    assert said == []
    kaggle.competitions.made[7] = {"ref": 7, "date": "2026-11-21T10:00:00Z", "description": "by hand"}
    assert submissions.last(session(), "eedi", said.append) == 7
    assert said == [
        "Kaggle's newest submission is 7 (by hand), not the one made from here; that one: make watch REF=100"
    ]


def test_a_submission_made_here_is_the_last_though_kaggle_does_not_list_it_yet(kaggle):
    submit()
    kaggle.competitions.made = {}
    assert submissions.last(session(), "eedi") == 100
    kaggle.competitions.made = {7: {"ref": 7, "date": "2026-11-20T10:00:00Z"}}
    assert submissions.last(session(), "eedi") == 100
    kaggle.competitions.made = {7: {"ref": 7, "date": "2099-11-20T10:00:00Z"}}
    assert submissions.last(session(), "eedi") == 7


def test_what_was_submitted_to_another_competition_is_not_the_last_of_this_one(kaggle):
    state.remember("submission", {"ref": 3, "version": 1, "at": state.now(), "competition": "titanic"})
    with pytest.raises(SubmissionError, match="eedi: nothing was submitted yet"):
        submissions.last(session(), "eedi")


def test_what_is_left_is_unknown_where_kaggle_does_not_say(kaggle):
    kaggle.competitions.left = kaggle.kernels.quota = None
    assert submissions.what_is_left(session(), "eedi") == "left: submissions today unknown, GPU hours this week unknown"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (Version(states=["RUNNING"]), "is RUNNING, and only a COMPLETE run can"),
        (Version(states=["ERROR"], failure="out of memory"), "is ERROR: out of memory, and only"),
        (Version(pages=[["ledger.jsonl"]]), r"its output has no submission\.csv"),
    ],
)
def test_a_version_that_cannot_score_is_not_submitted(kaggle, version, said):
    kaggle.kernels.kept["ada/eedi-cascade"] = [version]
    with pytest.raises(SubmissionError, match=said):
        submit()
    assert SUBMIT not in kaggle.methods()


@pytest.mark.parametrize("answer", [{"ref": "abc"}, {"ref": [1]}, {"ref": None}, {}, [], "submitted"], ids=str)
def test_a_submission_whose_reference_cannot_be_read_is_found_and_not_made_again(kaggle, answer):
    kaggle.competitions.lost, kaggle.competitions.lost_by = 0, answer
    assert submit() == 100
    with pytest.raises(SubmissionError, match="was already submitted as 100"):
        submit()
    assert kaggle.methods().count(SUBMIT) == 1


def test_a_submission_that_no_list_tells_of_says_that_it_may_have_been_made(kaggle):
    kaggle.competitions.lost, kaggle.competitions.lost_by = 9, {"ref": "abc"}
    with pytest.raises(SubmissionError, match=r"ref is 'abc'.*one may have been made; look at .* before you submit"):
        submit()
    assert kaggle.methods().count(SUBMIT) == 1


def test_a_submission_that_cannot_be_remembered_is_named(kaggle):
    Path("build").write_text("no folder can be made here")
    with pytest.raises(SubmissionError, match=r"is submission 100, but build/.*; time it with: make watch REF=100"):
        submit()


def test_nulls_and_times_with_an_offset_are_read(kaggle):
    empty = dict.fromkeys(["description", "publicScore", "errorDescription", "status"])
    kaggle.competitions.made = {
        7: {"ref": "7", "date": "2026-11-20T12:00:00+02:00", **empty},
        8: {"ref": 8, "date": None, **empty},
        9: {"ref": 9, "date": "2026-11-20T11:00:00Z", "status": 2, "publicScore": 0.5},
    }
    assert [each.ref for each in submissions.newest(session(), "eedi")] == [9, 7, 8]
    assert submissions.newest(session(), "eedi")[0].public_score == "0.5"
    kaggle.kernels.quota = {"totalTimeAllowed": None, "timeUsed": None}
    assert submissions.gpu_hours_left(session()) is None


def test_no_submission_left_today_is_said_before_one_is_made(kaggle):
    kaggle.competitions.left = 0
    with pytest.raises(SubmissionError, match="no submission is left today; submit after midnight UTC"):
        submit()
    assert SUBMIT not in kaggle.methods()


def test_a_version_is_submitted_a_second_time_only_where_that_is_asked_for(kaggle):
    submit()
    with pytest.raises(SubmissionError, match="was already submitted as 100"):
        submit()
    assert submit(again=True) == 101


@pytest.mark.parametrize(
    ("description", "same"),
    [
        ("Notebook Eedi cascade | Version 1", True),
        ("Notebook Eedi cascade | Version 11", False),
        ("Notebook My Eedi cascade | Version 1", False),
        ("first try", False),
    ],
)
def test_a_version_that_was_submitted_on_kaggles_pages_is_known_by_its_description(kaggle, description, same):
    kaggle.competitions.made[7] = {"ref": 7, "date": "2026-11-20T10:00:00Z", "description": description}
    if same:
        with pytest.raises(SubmissionError, match="was already submitted as 7"):
            submit()
    else:
        assert submit() == 101


def test_a_refused_submission_tells_how_to_do_it_by_hand(kaggle):
    kaggle.competitions.refusal = RefusalError(400, "Submission not allowed: this competition wants a notebook")
    with pytest.raises(
        SubmissionError, match=r"answers 400: Submission not allowed.*by hand: open https://www\.kaggle"
    ):
        submit()


@pytest.mark.parametrize(
    "fault", [CutError(), RefusalError(502), RefusalError(503), {"message": "Successfully submitted"}], ids=str
)
def test_a_submission_whose_answer_is_lost_is_found_and_never_made_twice(kaggle, fault):
    kaggle.competitions.lost, kaggle.competitions.lost_by = 3, fault
    assert submit() == 100
    assert kaggle.methods().count(SUBMIT) == 1


def test_a_submission_that_kaggle_names_nowhere_says_what_kaggle_said(kaggle):
    kaggle.competitions.lost, kaggle.competitions.lost_by = 99, {"message": "Daily limit"}
    with pytest.raises(SubmissionError, match=r"names none: Daily limit; .*one may have been made; look at"):
        submit()


@pytest.mark.parametrize("fault", [CutError(), RefusalError(500), RefusalError(503)], ids=str)
def test_a_submission_that_may_not_have_been_made_is_left_to_the_person(kaggle, fault):
    kaggle.faults[SUBMIT] = [fault]
    with pytest.raises(SubmissionError, match=r"look at kaggle\.com/competitions/eedi/submissions before you submit"):
        submit()
    assert kaggle.methods().count(SUBMIT) == 1


def test_the_commands_submit_and_watch_and_tell_a_failure_by_their_exit_code(kaggle):
    state.remember("state", PUSHED)
    said = CliRunner().invoke(app, ["submit"])
    assert said.stdout.splitlines() == [
        "version 1 of ada/eedi-cascade is submission 100; time it: make watch",
        "left: submissions today 5, GPU hours this week 21.5",
    ]
    kaggle.competitions.states = [{"status": "COMPLETE", "publicScore": "0.612"}]
    said = CliRunner().invoke(app, ["watch"])
    assert said.stdout.startswith("submission 100: COMPLETE, public score 0.612; took between ")
    assert said.stdout.endswith("left: submissions today 5, GPU hours this week 21.5\n")
    assert said.exit_code == 0
    kaggle.competitions.made[7] = {"ref": 7, "date": "2026-11-20T10:00:00Z"}
    kaggle.competitions.states = [{"status": "ERROR", "errorDescription": "Notebook Timeout"}]
    said = CliRunner().invoke(app, ["watch", "--ref", "7"])
    first, ran, _, last = said.stdout.splitlines()
    assert (said.exit_code, last) == (1, "why: Notebook Timeout")
    assert first.startswith("submission 7: ERROR, Notebook Timeout;")
    assert ran.startswith("a rerun may start 0 to 60 min late, so it ran between 0 s and ")


@pytest.mark.parametrize(("ending", "code"), [("COMPLETE", 0), ("ERROR", 1)])
def test_submit_waits_for_the_end_and_submits_once(kaggle, ending, code):
    state.remember("state", PUSHED)
    kaggle.competitions.states = [{"status": ending, "errorDescription": "Submission CSV Not Found"}]
    said = CliRunner().invoke(app, ["submit", "--wait"])
    lines = said.stdout.splitlines()
    assert said.exit_code == code and lines[0] == "version 1 of ada/eedi-cascade is submission 100"
    assert lines[1].startswith(f"submission 100: {ending}, ")
    assert lines[-1].startswith("why: Submission CSV Not Found" if code else "left: submissions today 5, ")
    assert kaggle.methods().count(SUBMIT) == 1


def test_a_bare_submit_is_refused_where_another_version_may_be_meant(kaggle):
    state.remember("state", PUSHED)
    kaggle.kernels.kept["ada/eedi-cascade"].append(Version())
    said = CliRunner().invoke(app, ["submit"])
    assert "version 2 is Kaggle's newest, but 1 was the last one pushed from here" in str(said.exception)
    kaggle.kernels.kept["ada/eedi-cascade"].pop()
    state.remember(state.ATTEMPT, {"config": "configs/new.toml", "at": state.now()})
    said = CliRunner().invoke(app, ["submit"])
    assert "whether the push of configs/new.toml after version 1 succeeded" in str(said.exception)
    assert SUBMIT not in kaggle.methods()
    assert CliRunner().invoke(app, ["submit", "1"]).exit_code == 0


class Clock:
    """Time that goes by only while someone sleeps."""

    def __init__(self, now=BEGUN + timedelta(minutes=2)):
        self.now, self.pauses = now, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def submitted(kaggle):
    kaggle.competitions.made[100] = {"ref": 100, "date": "2026-11-20T10:00:00Z"}
    return kaggle


def look(clock, patience=0.0, **settings):
    return watch.watch(session(patience), 100, 60.0, [].append, clock=clock, sleep=clock.sleep, **settings)


def test_a_submission_is_timed_through_faults_to_its_score(submitted):
    ending = {"status": "COMPLETE", "publicScore": "0.612"}
    submitted.competitions.states = [*[{}] * 20, ending]
    submitted.faults[SUBMISSION] = [CutError(), RefusalError(502), RefusalError(500), CutError()]
    clock = Clock()
    seen = look(clock)
    least, most = seen.took()
    assert (seen.status, seen.score, seen.polls) == ("COMPLETE", "0.612", 21)
    assert most == (clock.now - BEGUN).total_seconds()
    assert most - least == clock.pauses[-1] == 60.0
    assert clock.pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert str(seen).startswith("submission 100: COMPLETE, public score 0.612; took between ")


def test_a_submission_that_failed_says_why(submitted):
    submitted.competitions.states = [{}, {"status": "ERROR", "errorDescription": "Submission CSV Not Found"}]
    seen = look(Clock())
    assert seen.status == "ERROR"
    assert str(seen) == (
        "submission 100: ERROR, Submission CSV Not Found; took between 2 min 00 s and 2 min 05 s, 2 looks"
    )


def test_a_watch_begun_again_keeps_what_was_seen(submitted):
    submitted.competitions.states = [{}]
    clock = Clock()

    def killed(seconds):
        if len(clock.pauses) == 3:
            raise KeyboardInterrupt
        clock.sleep(seconds)

    with pytest.raises(KeyboardInterrupt):
        watch.watch(session(), 100, 60.0, print, clock=clock, sleep=killed)
    kept = json.loads(Path("build/kernel/watch-100.json").read_text())
    # A laptop asleep for a day and more, in which nobody looked.
    clock.now += timedelta(hours=30)
    submitted.competitions.states = [{"status": "COMPLETE", "publicScore": "0.6"}]
    seen = look(clock)
    assert (seen.first_seen, seen.pending, seen.polls) == (kept["first_seen"], kept["pending"], 5)
    assert seen.took() == (155.0, 155.0 + 30 * 3600)
    before = len(submitted.methods())
    assert look(clock) == seen  # what has ended is not looked at again
    assert len(submitted.methods()) == before + 1  # the login


def test_a_rerun_that_may_have_started_late_ran_for_a_range(submitted):
    began, ended = "2026-11-20T10:00:00+00:00", "2026-11-20T18:02:00+00:00"
    seen = watch.Watch(1, began, "", "COMPLETE", pending="2026-11-20T18:01:00+00:00", ended=ended)
    assert seen.ran() == "a rerun may start 0 to 60 min late, so it ran between 7 h 01 min and 8 h 02 min"
    assert "between 0 s and 8 h 02 min" in replace(seen, pending="2026-11-20T10:59:00+00:00").ran()


def test_one_that_had_ended_before_anyone_looked_took_at_most_so_long(submitted):
    submitted.competitions.states = [{"status": "COMPLETE"}]
    seen = look(Clock())
    assert seen.took() == (0.0, 120.0)
    assert "public score not given; took between 0 s and 2 min 00 s, 1 looks" in str(seen)


def test_a_submission_that_is_not_there_is_an_error(submitted):
    with pytest.raises(KaggleError, match="submission 999: Kaggle answers 404"):
        watch.watch(session(), 999, 60.0, print)


def test_a_watch_that_cannot_be_read_is_an_error(submitted):
    Path("build/kernel").mkdir(parents=True)
    Path("build/kernel/watch-100.json").write_text('{"ref": 100, "when": 1}')
    with pytest.raises(SubmissionError, match=r"watch-100\.json: not what a watch writes"):
        look(Clock())


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (75, "1 min 15 s"), (3600 * 8 + 119.6, "8 h 02 min"), (90000, "25 h 00 min")]
)
def test_a_duration_is_read_without_counting(seconds, words):
    assert watch.duration(seconds) == words


def test_a_disk_that_is_full_costs_a_watch_nothing_but_its_memory(submitted):
    submitted.competitions.states = [{}, {"status": "COMPLETE", "publicScore": "0.6"}]
    said, clock = [], Clock()
    Path("build").write_text("no folder can be made here")
    seen = watch.watch(session(), 100, 60.0, said.append, clock=clock, sleep=clock.sleep)
    assert (seen.status, seen.score) == ("COMPLETE", "0.6")
    assert ["cannot be written" in text for text in said] == [False, True, False, True]


def test_clocks_that_disagree_never_make_it_less_than_nothing(submitted):
    seen = watch.Watch(1, date="2026-11-20T10:00:00+00:00", first_seen="", ended="2026-11-20T09:59:00+00:00")
    assert replace(seen, pending="2026-11-20T09:58:00+00:00").took() == (0.0, 0.0)
