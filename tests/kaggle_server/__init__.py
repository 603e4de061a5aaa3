"""Kaggle's API on loopback, as far as the packer calls it, for the real client to talk to.

`with KaggleServer() as server, server.login(monkeypatch): …` and the kaggle client, kagglesdk and `packer.session` call
it. What it holds is plain data for tests to set up and to look at: `server.requests` is every call in its order.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

OWNER, TOKEN = "ada", "KGAT_0123456789abcdef0123456789abcdef"


class RefusalError(Exception):
    """An answer that is an error. `headers`: beside it, such as Retry-After."""

    def __init__(self, status: int, message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


CUT = b"\0"  # in a stream: the end of a chunk; at its end: a connection that breaks


@dataclass(frozen=True)
class Streamed:
    """An answer of server-sent events, chunk by chunk; `forever`: what comes after them, again and again."""

    body: bytes
    forever: bytes = b""


class CutError(Exception):
    """The connection is closed with no answer."""


@dataclass(frozen=True)
class Call:
    """One request: `method` is `Service/Method` of the API, or the path of another address."""

    method: str
    body: Any
    headers: dict[str, str]


Handler = Callable[[Call], Any]
Raw = Callable[["Request", str], None]


@dataclass
class KaggleServer:
    """`handlers` by `Service/Method`; `raw` by the first word of another path, for blobs and downloads.

    `faults[method]` is a list of exceptions, taken one a call before the handler is asked.
    """

    handlers: dict[str, Handler] = field(default_factory=dict)
    raw: dict[str, Raw] = field(default_factory=dict)
    requests: list[Call] = field(default_factory=list)
    faults: dict[str, list[Exception]] = field(default_factory=lambda: defaultdict(list))
    token_is_active: bool = True

    def __post_init__(self) -> None:
        self.handlers["security.OAuthService/IntrospectToken"] = self._introspect
        self.lock = threading.RLock()

    def _introspect(self, call: Call) -> Any:
        active = self.token_is_active and call.body.get("token") == TOKEN
        return {"active": active, **({"username": OWNER} if active else {})}

    def __enter__(self) -> KaggleServer:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._http.daemon_threads = True
        self._http.kaggle = self  # type: ignore[attr-defined]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        """Of what is no API call: `{address}/blobs/…`."""
        return f"http://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """What was called, in its order."""
        with self.lock:
            return [call.method for call in self.requests]

    @contextmanager
    def login(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The environment in which the real client calls this server, with a token it accepts."""
        with monkeypatch.context() as patch:
            for name in ("NO_PROXY", "no_proxy", "KAGGLE_USERNAME", "KAGGLE_KEY"):
                patch.delenv(name, raising=False)
            # The client's own address for a server on this machine is port 80; a proxy leads it to any port.
            patch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
            patch.setenv("http_proxy", self.address)
            patch.setenv("KAGGLE_API_TOKEN", TOKEN)
            yield

    def variables(self) -> dict[str, str]:
        """As `login`, for a subprocess."""
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": self.address, "KAGGLE_API_TOKEN": TOKEN}


class Request(BaseHTTPRequestHandler):
    """One request; a raw handler reads `rfile` and answers by itself."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # else an answer's body waits 40 ms for its headers' acknowledgement

    @property
    def kaggle(self) -> KaggleServer:
        return self.server.kaggle  # type: ignore[attr-defined,no-any-return]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_GET  # noqa: N815

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        try:
            if path.startswith("/api/v1/"):
                method = path.removeprefix("/api/v1/")
                length = int(self.headers.get("Content-Length", 0))
                call = Call(method, json.loads(self.rfile.read(length) or b"{}"), dict(self.headers))
                with self.kaggle.lock:
                    self.kaggle.requests.append(call)
                self._take_fault(method)
                if method != "security.OAuthService/IntrospectToken":
                    self._check_login()
                handler = self.kaggle.handlers.get(method)
                if handler is None:
                    raise RefusalError(404, f"no method {method}")
                answer = handler(call)
                if isinstance(answer, Streamed):
                    self._stream(answer)
                else:
                    self.reply(200, answer)
                return
            name = path.strip("/").split("/")[0]
            with self.kaggle.lock:
                self.kaggle.requests.append(Call(f"{self.command} /{name}", path, dict(self.headers)))
            try:
                self._take_fault(f"{self.command} /{name}")
            except RefusalError:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))  # the next request comes after it
                raise
            raw = self.kaggle.raw.get(name)
            if raw is None:
                raise RefusalError(404, f"nothing at {path}")
            raw(self, path)
        except RefusalError as refusal:
            body = {"code": refusal.status, "message": refusal.message}
            self.reply(refusal.status, body, refusal.headers)
        except (CutError, ConnectionError):
            self.close_connection = True
            self.connection.close()

    def _take_fault(self, method: str) -> None:
        with self.kaggle.lock:
            waiting = self.kaggle.faults[method]
            fault = waiting.pop(0) if waiting else None
        if fault is not None:
            raise fault

    def _check_login(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" or not self.kaggle.token_is_active:
            raise RefusalError(401, "Unauthorized")

    def _stream(self, answer: Streamed) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in itertools.chain(filter(None, answer.body.split(CUT)), self._again(answer.forever)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if answer.body.endswith(CUT):
            raise CutError
        self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _again(chunk: bytes) -> Iterator[bytes]:
        while chunk:
            time.sleep(0.01)
            yield chunk

    def reply(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        """Answers with JSON, or with `body` as it stands where it is bytes."""
        raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)
