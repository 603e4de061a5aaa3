"""`python -m tests.training.step OUT SECONDS [CODE]`: a job that takes its time, then writes its file, or fails."""

import sys
import time
from pathlib import Path

if __name__ == "__main__":
    out, seconds, *code = sys.argv[1:]
    print("runs", flush=True)
    time.sleep(float(seconds))
    if code:
        sys.exit(f"error: asked to end with {code[0]}")
    Path(out).write_text(str(time.time()))
