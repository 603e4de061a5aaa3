#!/usr/bin/env bash
# kagglesdk 0.1.38 (kaggle_object.py, to_dict of a timedelta), as of an accelerator quota's `timeUsed`. Guess before: what
# it writes of an answer it has read is the same answer. Seen: of a duration with days only the rest is written (26.5 h
# are 2.5 h), and one with a fraction is written in a form that its own reader refuses. Whoever keeps the SDK's answers as
# JSON loses a day of quota.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check kagglesdk==0.1.38
"$folder/venv/bin/python" - <<'PYTHON'
from kagglesdk.kernels.types.kernels_api_service import ApiAcceleratorQuota as Quota

for told in ("9000s", "95400s", "95400.5s"):
    read = Quota.from_dict({"timeUsed": told})
    print(told, "is read as", read.time_used, "and written as", Quota.to_dict(read)["timeUsed"])
assert Quota.from_dict({"timeUsed": "95400s"}).time_used.total_seconds() == 95400
assert Quota.to_dict(Quota.from_dict({"timeUsed": "9000s"}))["timeUsed"] == "9000s"
assert Quota.to_dict(Quota.from_dict({"timeUsed": "95400s"}))["timeUsed"] == "9000s"
half = Quota.to_dict(Quota.from_dict({"timeUsed": "95400.5s"}))
try:
    Quota.from_dict(half)
except ValueError as error:
    print("which it does not read again:", error)
else:
    raise AssertionError(half)
PYTHON
