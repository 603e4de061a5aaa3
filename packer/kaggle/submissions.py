"""Submitting a version of the kernel, once; and how many submissions are left."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cascade.base.errors import CascadeError
from packer.kaggle import output, polling, quota, runs, state
from packer.kaggle.runs import Run
from packer.kaggle.session import KaggleError, Session
from packer.kaggle.state import Pushed, StateError

FILE = "submission.csv"


class SubmissionError(CascadeError):
    """A submission that cannot be made, or that is not there."""


def submit(
    session: Session, pushed: Pushed, run: Run, again: bool = False, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Submits that version and returns the submission's reference; SubmissionError says why it cannot be.

    A version that was submitted already is so only with `again`: each one costs a part of the day's allowance.
    """
    seen = runs.status(session, run)
    if seen.name == runs.UNRUN:
        raise runs.not_run(run)
    if seen.name != "COMPLETE":
        raise SubmissionError(
            f"is {seen}, and only a COMPLETE run can be submitted",
            key=str(run),
            mend="wait for it (make status WAIT=1), or submit another version",
        )
    if FILE not in output.names(session, run):
        raise SubmissionError(
            f"its output has no {FILE}", key=str(run), mend=f"read its log: make logs VERSION={run.version}"
        )
    description = f"{run.slug} version {run.version}"
    before = newest(session, pushed.competition)
    same = [each.ref for each in before if _is_of(run, each.description)]
    if same and not again:
        raise SubmissionError(
            f"was already submitted as {same[0]}", key=str(run), mend="run: make watch, or submit it again with AGAIN=1"
        )
    left = allowed(session, pushed.competition)
    if left == 0:
        raise SubmissionError("no submission is left today", key=pushed.competition, mend="submit after midnight UTC")
    try:
        ref = _create(session, pushed.competition, run, description)
    except KaggleError as error:
        if error.status is not None and error.status < 500:
            raise SubmissionError(str(error), mend=by_hand(pushed, run)) from error
        ref = _lost(session, pushed, {each.ref for each in before}, description, error, sleep)
    made = {"ref": ref, "version": run.version, "at": state.now(), "competition": pushed.competition}
    try:
        state.remember("submission", made)
    except StateError as error:
        raise SubmissionError(
            f"{run} is submission {ref}, but {error}", mend=f"time it with: make watch REF={ref}"
        ) from error
    return ref


def check_newest(session: Session, pushed: Pushed) -> None:
    """SubmissionError where `pushed`, that nobody named, may not be the version that is meant."""
    kernel = f"{pushed.owner}/{pushed.slug}"
    attempt = state.recall(state.ATTEMPT)
    if attempt:
        raise SubmissionError(
            f"it is not known whether the push of {attempt.get('config')} after version {pushed.version} succeeded",
            key=kernel,
            mend=f"push again, or choose the version: make submit VERSION={pushed.version}",
        )
    number = runs.newest_number(session, kernel)
    if number not in (0, pushed.version):
        raise SubmissionError(
            f"version {number} is Kaggle's newest, but {pushed.version} was the last one pushed from here",
            key=kernel,
            mend=f"choose one: make submit VERSION={pushed.version}",
        )


def _is_of(run: Run, description: str | None) -> bool:
    """Told by the description, as Kaggle's list has no version: ours, or a page's `Notebook <title> | Version <n>`."""
    from slugify import slugify

    ours = f"{run.slug}-version-{run.version}"
    return slugify(description or "") in (ours, f"notebook-{ours}")


def by_hand(pushed: Pushed, run: Run) -> str:
    """How to do the same on Kaggle's pages."""
    return (
        f"by hand: open {pushed.page}, choose version {run.version} at the top right, then in its Output "
        f"'Submit to competition', file {FILE}"
    )


def _create(session: Session, competition: str, run: Run, description: str) -> int:
    from kagglesdk.competitions.types.competition_api_service import ApiCreateCodeSubmissionRequest

    request = ApiCreateCodeSubmissionRequest()
    request.competition_name, request.file_name, request.submission_description = competition, FILE, description
    request.kernel_owner, request.kernel_slug, request.kernel_version = run.owner, run.slug, run.version
    call = session.client.competitions.competition_api_client.create_code_submission
    answer = session.call(f"submission of {run}", lambda: call(request), repeatable=False)
    if not answer.ref:
        raise KaggleError(
            f"Kaggle's answer names none: {answer.message or 'it gives no reason'}",
            key=f"submission of {run}",
            mend="look at the competition's page",
        )
    return int(answer.ref)


def _lost(
    session: Session,
    pushed: Pushed,
    before: set[int],
    description: str,
    error: KaggleError,
    sleep: Callable[[float], None],
) -> int:
    """The answer was lost: the submission is looked for, and never made a second time."""

    def look() -> int | None:
        listed = newest(session, pushed.competition)
        return next((each.ref for each in listed if each.ref not in before and each.description == description), None)

    found = polling.looked_for(look, sleep)
    if found is not None:
        return found
    raise SubmissionError(
        f"{error}; Kaggle lists no new submission, but one may have been made",
        mend=f"look at kaggle.com/competitions/{pushed.competition}/submissions before you submit again",
    ) from error


def last(session: Session, competition: str, say: Callable[[str], None] = print) -> int:
    """The submission that was made last, here or on Kaggle's pages; SubmissionError where there is none.

    `say` is told where it is not the one that was made from here.
    """
    listed = newest(session, competition)
    made = state.recall("submission")
    if str(made.get("competition")).lower() != competition.lower():
        made = {}
    if not listed and not made:
        raise SubmissionError("nothing was submitted yet", key=competition, mend="run: make submit")
    if made and _is_ahead(made, listed):
        return int(made["ref"])
    ref = int(listed[0].ref)
    if made and ref != made["ref"]:
        say(
            f"Kaggle's newest submission is {ref} ({listed[0].description or 'no description'}), not the one made from "
            f"here; that one: make watch REF={made['ref']}"
        )
    return ref


def _is_ahead(made: dict[str, Any], listed: list[Any]) -> bool:
    """Whether what was made from here is newer than all that Kaggle lists: its list may be behind."""
    if any(each.ref == made["ref"] for each in listed):
        return False
    newest_date = listed[0].date if listed else None
    return newest_date is None or newest_date.replace(tzinfo=UTC) < datetime.fromisoformat(made["at"])


def newest(session: Session, competition: str) -> list[Any]:
    """Returns the last submissions, the newest first: `ref`, `date` (UTC, naive), `status` and more."""
    from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

    request = ApiListSubmissionsRequest()
    request.competition_name, request.page_size = competition, 50
    call = session.client.competitions.competition_api_client.list_submissions
    found = session.call(f"submissions to {competition}", lambda: call(request)).submissions
    return sorted(found, key=lambda each: each.date or datetime.min, reverse=True)


def what_is_left(session: Session, competition: str) -> str:
    """A line on today's submissions and this week's GPU quota."""
    today, hours = allowed(session, competition), gpu_hours_left(session)
    return (
        f"left: submissions today {'unknown' if today is None else today}, "
        f"GPU hours this week {'unknown' if hours is None else f'{hours:.1f}'}"
    )


def allowed(session: Session, competition: str) -> int | None:
    """Submissions left until midnight UTC; None where Kaggle does not say."""
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionLimitsRequest

    request = ApiGetSubmissionLimitsRequest()
    request.competition_name = competition
    call = session.client.competitions.competition_api_client.get_submission_limits
    try:
        return int(session.call("submissions left", lambda: call(request)).num_allowed_now)
    except KaggleError as error:
        if error.status == 401:
            raise
        return None


def gpu_hours_left(session: Session) -> float | None:
    """Returns what of this week's GPU quota is neither used nor reserved; None where Kaggle does not say."""
    try:
        found, _ = quota.ask(session)
    except KaggleError as error:
        if error.status == 401:
            raise
        return None
    return next((each.left for each in found if each.accelerator == "GPU"), None)
