"""Competitions and submissions of Kaggle's API on loopback: see `Competitions`."""

from __future__ import annotations

from typing import Any

from tests.kaggle_server import Call, CutError, KaggleServer, RefusalError

SERVICE = "competitions.CompetitionApiService"
COMPETITION, SUBMIT = f"{SERVICE}/GetCompetition", f"{SERVICE}/CreateCodeSubmission"
SUBMISSIONS, SUBMISSION = f"{SERVICE}/ListSubmissions", f"{SERVICE}/GetSubmission"
LIMITS = f"{SERVICE}/GetSubmissionLimits"


class Competitions:
    """Adds its routes to a server. `entered` are competitions that there are, and whether the login takes part.

    `made` are submissions by number, as Kaggle tells of them; `states`: what each asks for one of them sees, the last
    for ever. `refusal` is what a submission is answered. `lost`: it is made and listed
    only after so many looks, and `lost_by` is raised, or answered.
    """

    def __init__(self, server: KaggleServer, **entered: bool) -> None:
        self.entered = entered
        self.made: dict[int, dict[str, Any]] = {}
        self.states: list[dict[str, Any]] = [{}]
        self.refusal: RefusalError | None = None
        self.lost: int | None = None
        self.lost_by: Exception | dict[str, Any] = CutError()
        self.left: int | None = 5
        server.handlers |= {
            COMPETITION: self.competition, SUBMIT: self.submit, SUBMISSIONS: self.list, SUBMISSION: self.get,
            LIMITS: self.limits,
        }  # fmt: skip

    def competition(self, call: Call) -> Any:
        name = call.body["competitionName"]
        if name not in self.entered:
            raise RefusalError(404, "Not found")
        return {"ref": name, "userHasEntered": self.entered[name]}

    def submit(self, call: Call) -> Any:
        if self.refusal is not None:
            raise self.refusal
        ref = 100 + len(self.made)
        date = f"2026-11-20T10:{len(self.made):02}:00Z"
        self.made[ref] = {"ref": ref, "date": date, "description": call.body["submissionDescription"]}
        if self.lost is not None:
            if isinstance(self.lost_by, Exception):
                raise self.lost_by
            return self.lost_by
        return {"message": "Successfully submitted", "ref": ref}

    def list(self, call: Call) -> Any:
        shown = list(self.made.values())
        if self.lost and shown:
            self.lost -= 1
            shown = shown[:-1]
        return {"submissions": shown}

    def get(self, call: Call) -> Any:
        found = self.made.get(call.body["ref"])
        if found is None:
            raise RefusalError(404, "Not found")
        return found | (self.states.pop(0) if len(self.states) > 1 else self.states[0])

    def limits(self, call: Call) -> Any:
        if self.left is None:
            raise RefusalError(404)
        return {"numAllowedNow": self.left}
