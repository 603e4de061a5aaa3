"""`python -m cascade.processes.die_with_parent MODULE ARGUMENTS…`: a module that dies with its parent.

The kernel's own parent poller then ends the Jupyter kernel, so a SIGKILL of the conductor leaves nothing behind.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Set by a parent to its own id: one that died before this process first looked would be taken for another.
PARENT = "CASCADE_PARENT"


def told() -> dict[str, str]:
    """The variable by which a process of this module knows whose it is."""
    return {PARENT: str(os.getpid())}


def die_with_parent() -> None:
    """Asks Linux to SIGKILL this process when its parent ends; without effect elsewhere."""
    if sys.platform == "linux":
        parent = int(os.environ.pop(PARENT, 0)) or os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before it was being watched
            sys.exit(1)


if __name__ == "__main__":
    die_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
