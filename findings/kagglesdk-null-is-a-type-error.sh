#!/usr/bin/env bash
# kagglesdk 0.1.38 (kaggle_object.py, from_dict). Guess before: JSON's null for a list, and a number for an enum, are read
# as proto3's JSON mapping has them: the field's default, and the value of that number. Seen: a null list ends in
# TypeError and a numbered status in AttributeError, raised after the call has done its work on the server.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check kagglesdk==0.1.38
"$folder/venv/bin/python" - <<'PYTHON'
from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesResponse
from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusResponse

found = {}
for name, kind, answer in (
    ("an empty list", ApiListDatasetFilesResponse, {"datasetFiles": []}),
    ("a null list", ApiListDatasetFilesResponse, {"datasetFiles": None}),
    ("a named status", ApiGetKernelSessionStatusResponse, {"status": "RUNNING"}),
    ("a numbered status", ApiGetKernelSessionStatusResponse, {"status": 1}),
):
    try:
        kind.from_dict(answer)
        found[name] = "read"
    except Exception as error:
        found[name] = type(error).__name__
    print(f"{name}: {found[name]}")
assert list(found.values()) == ["read", "TypeError", "read", "AttributeError"], found
PYTHON
