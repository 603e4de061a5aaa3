#!/usr/bin/env bash
# kaggle 2.2.5 (kernels_logs_cli, as of `kaggle kernels logs --follow`). Guess before: a stream of events that closes
# without its END_OF_LOG event, as a proxy's limit or a restarted server closes it, is opened again, as browsers do with
# server-sent events. Seen: the client returns without an error, as if the run had ended; and it reads the events'
# UTF-8 as Latin-1 where the server names no charset, so that a run's own words come out changed.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check kaggle==2.2.5 kagglesdk==0.1.38 six
HOME=$folder "$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import http.server
import io
import json
import os
import threading

opened = []


class Kaggle(http.server.BaseHTTPRequestHandler):
    """A login that is valid, and a log of one event whose connection is then closed in good order."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        opened.append(self.path)
        event = {"stream_name": "stdout", "time": 1, "data": "Übung: half of the run\n"}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())

    def do_POST(self):
        body = b'{"active": true, "username": "ada"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kaggle)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in ("NO_PROXY", "no_proxy"):
    os.environ.pop(name, None)
# The client's own address for a server on this machine is port 80; a proxy leads it to any port.
os.environ |= {
    "KAGGLE_API_TOKEN": "KGAT_0123456789abcdef0123456789abcdef",
    "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
    "http_proxy": f"http://127.0.0.1:{server.server_address[1]}",
}
from kaggle.api.kaggle_api_extended import KaggleApi

api, shown = KaggleApi(), io.StringIO()
api.authenticate()
with contextlib.redirect_stdout(shown):
    api.kernels_logs_cli("ada/kernel", follow=True)
print("returned after", len(opened), "connection; shown:", shown.getvalue().strip())
assert len(opened) == 1, opened
assert "half of the run" in shown.getvalue() and "Übung" not in shown.getvalue(), shown.getvalue()
PYTHON
