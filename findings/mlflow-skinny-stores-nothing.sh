#!/usr/bin/env bash
# mlflow-skinny 3.17.2 (mlflow/tracking/_tracking_service/utils.py).
# Guess before: the small package writes a local store, a SQLite file or a folder, as the whole one does without a
# server. Seen: as installed it has no store at all. A sqlite address is an "unsupported URI" until sqlalchemy and
# alembic are there, which it does not require; a folder is refused unless MLFLOW_ALLOW_FILE_STORE is set. And its
# command line offers `mlflow ui`, which has no flask to start.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export MLFLOW_DISABLE_TELEMETRY=true GIT_PYTHON_REFRESH=quiet
python3.11 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet --disable-pip-version-check mlflow-skinny==3.17.2
cd "$folder"
stored() {
    { "$python" - "$1" || true; } <<'PYTHON' 2>&1 | tail -1
import sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
print(len(client.search_experiments()), "experiment")
PYTHON
}
alone=$(stored "sqlite:///$folder/mlflow.db")
file=$(stored "file:$folder/mlruns")
ui=$(timeout 60 "$folder/venv/bin/mlflow" ui --port 5999 2>&1 | tail -1 || true)
"$python" -m pip install --quiet --disable-pip-version-check sqlalchemy==2.1.9 alembic==1.20.1
with=$(stored "sqlite:///$folder/mlflow.db")
printf 'sqlite as installed: %s\nfolder: %s\nmlflow ui: %s\nsqlite with sqlalchemy and alembic: %s\n' "$alone" "$file" "$ui" "$with"
[[ "$alone" == *nsupported* ]] || { echo "sqlite works as installed"; exit 1; }
[[ "$file" != *experiment ]] || { echo "a folder is taken"; exit 1; }
[[ "$ui" == *flask* ]] || { echo "mlflow ui says something else"; exit 1; }
[[ "$with" == "1 experiment" ]] || { echo "sqlite does not work with both"; exit 1; }
