"""The page made in a process of its own, at the end of a run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from cascade.base import clock
from cascade.processes import die_with_parent, environ, tree

FILE = "report.html"

LIMIT = 60.0  # seconds for making it: 3 for 240 queries, 15 for 2,880

LEAST = 5.0  # seconds: in less it is not even begun


def leave(config: Path, data: Path, run: Path, deadline: float) -> str:
    """Makes the page in a process of its own, as no formula and no full disk may cost the run; says how that went.

    `deadline`: in Unix seconds.
    """
    command = ["page", "--config", str(config), "--data", str(data), "--run", str(run)]
    by_hand = f"python -m cascade {' '.join(command)}"
    until = min(clock.now() + LIMIT, deadline)
    if until - clock.now() < LEAST:
        return f"no {FILE}: no time was left; make it by: {by_hand}"
    log = run / "logs" / "page.log"
    try:
        (run / FILE).unlink(missing_ok=True)  # an earlier run's
        outcome = tree.run(
            [sys.executable, "-m", "cascade.processes.die_with_parent", "cascade", *command],
            log,
            environ.clean() | die_with_parent.told(),
            until,
        )
    except Exception as error:  # after all the work nothing here may raise
        logging.getLogger("cascade").exception("the page")
        return f"no {FILE}: {type(error).__name__}: {error}; make it by: {by_hand}"
    return f"no {FILE}: see {log}; make it by: {by_hand}" if outcome.code != 0 else f"{run / FILE} shows the whole run"
