"""A headless Chromium over its DevTools protocol, through a pipe: no driver, no port, no package.

`python -m tests.browser PAGE PNG` takes a picture of a page.

The protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 60.0  # seconds for one answer
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


class Browser:
    """One tab. `said`: what its console and its scripts' errors say; `asked`: the address of every request."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser, self.from_browser = to_browser, from_browser
        self.numbers = itertools.count(1)
        self.rest = b""
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.asked: list[str] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._take(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            if not select.select([self.from_browser], [], [], PATIENCE)[0]:
                raise TimeoutError(f"the browser says nothing for {PATIENCE:.0f} s")
            read = os.read(self.from_browser, 1 << 20)
            if not read:
                raise ConnectionError("the browser is gone")
            self.rest += read
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        facts = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                self.asked.append(facts["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.said.append(" ".join(str(argument.get("value")) for argument in facts["args"]))
            case "Runtime.exceptionThrown":
                self.said.append(str(facts["exceptionDetails"]))
            case "Log.entryAdded":
                self.said.append(facts["entry"]["text"])

    def open(self, page: Path, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """Loads a file and waits until it has loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._take(self._next())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; RuntimeError where it throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Starts Chromium and ends it; its profile is gone afterwards."""
    assert PROGRAM is not None
    read_command, write_command = os.pipe()
    read_answer, write_answer = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # It reads at descriptor 3 and writes at 4.
        command = [
            "bash", "-c", f'exec "$@" 3<&{read_command} 4>&{write_answer}', "bash", PROGRAM, *QUIET,
            f"--user-data-dir={profile}", "--remote-debugging-pipe",
        ]  # fmt: skip
        process = subprocess.Popen(command, pass_fds=(read_command, write_answer), stderr=subprocess.DEVNULL)
        os.close(read_command)
        os.close(write_answer)
        try:
            yield Browser(write_command, read_answer)
        finally:
            process.kill()
            process.wait()
            os.close(write_command)
            os.close(read_answer)


if __name__ == "__main__":
    with browser() as tab:
        tab.call("Emulation.setScrollbarsHidden", hidden=True)
        tab.open(Path(sys.argv[1]), height=2260)
        tab.screenshot(Path(sys.argv[2]))
