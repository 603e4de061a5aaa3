"""`python -m tests.training.joins OUT SECONDS FILE…`: a job that writes what files say, and tells where it ran."""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    out, seconds, *files = sys.argv[1:]
    print(f"in {Path.cwd()} with {os.environ['OMP_NUM_THREADS']} threads", flush=True)
    time.sleep(float(seconds))
    Path(out).mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        (Path(out) / f"{number}.txt").write_text(Path(file).read_text().upper())
