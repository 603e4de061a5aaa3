"""Kernels of Kaggle's API on loopback: pushes, runs and their output, models and quota: see `Kernels`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kagglesdk.kernels.types.kernels_enums import KernelExecutionType

from tests.kaggle_server import CUT, OWNER, Call, CutError, KaggleServer, RefusalError, Request, Streamed

SERVICE = "kernels.KernelsApiService"
SAVE, GET = f"{SERVICE}/SaveKernel", f"{SERVICE}/GetKernel"
STATUS, OUTPUT = f"{SERVICE}/GetKernelSessionStatus", f"{SERVICE}/ListKernelSessionOutput"
STREAM = f"{SERVICE}/GetKernelSessionLogsStream"
QUOTA = f"{SERVICE}/GetAcceleratorQuotaStatistics"
MODEL = "models.ModelApiService/ListModelInstanceVersionFiles"
DOWNLOAD = "GET /output"


@dataclass
class Version:
    """One version and its run. `states`: what each look at it sees, the last for ever; `pages` of file names.

    `streams`: what each connection to its log brings, before it is closed, chunk by chunk at each `CUT`; without one
    more it is answered with the log as it is kept.
    """

    body: dict[str, Any] = field(default_factory=dict)
    states: list[str] = field(default_factory=lambda: ["COMPLETE"])
    failure: str = ""
    pages: list[list[str]] = field(default_factory=list)
    log: str = ""
    streams: list[bytes] = field(default_factory=list)


class Kernels:
    """Adds its routes to a server. `kept` are versions by `owner/slug`, the first one's number is 1.

    `answer` is added to what a push is answered. `lost`: a push is done, and that is raised, or answered, instead of
    its version, which the next `unseen` looks do not see; `dropped`: a list that it lacks; `spelt`: how a source is
    named. `files` by name. `cuts`: bytes of a body after which the connection is closed, one a download; `ranges`:
    whether a Range is honoured, with `longest` bytes at most; `lengths`: whether an answer tells its own.
    """

    def __init__(self, server: KaggleServer) -> None:
        self.server = server
        self.kept: dict[str, list[Version]] = {}
        self.answer: dict[str, Any] = {}
        self.lost: Exception | dict[str, Any] | None = None
        self.unseen, self.hidden, self.dropped = 0, 0, ""
        self.spelt: Callable[[str], str] = str
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges = self.lengths = True
        self.longest: int | None = None
        self.models: set[str] = set()
        self.quota: dict[str, Any] | None = {"totalTimeAllowed": "108000s", "timeUsed": "30600s"}
        self.more_quota: dict[str, Any] = {}
        server.handlers |= {
            SAVE: self.save, GET: self.get, STATUS: self.status, OUTPUT: self.output, QUOTA: self.hours,
            MODEL: self.model, STREAM: self.stream,
        }  # fmt: skip
        server.raw["output"] = self.download

    def save(self, call: Call) -> Any:
        ref = call.body["slug"]
        if ref.partition("/")[0] != OWNER:
            return {"error": "Kernel not found"}
        if self.answer.get("error"):
            return self.answer
        versions = self.kept.setdefault(ref, [])
        saved_only = call.body.get("kernelExecutionType") == KernelExecutionType.QUICK_SAVE.name
        versions.append(Version(call.body, ["NEW_SCRIPT"] if saved_only else ["QUEUED", "RUNNING", "COMPLETE"]))
        self.hidden = 0 if self.lost is None else self.unseen
        if isinstance(self.lost, Exception):
            raise self.lost
        if self.lost is not None:
            return self.lost
        return {"ref": f"/{ref}", "url": f"https://www.kaggle.com/code/{ref}", "versionNumber": len(versions)} | (
            self.answer
        )

    def get(self, call: Call) -> Any:
        versions = self.kept.get(f"{call.body['userName']}/{call.body['kernelSlug']}", [])
        if self.hidden:
            self.hidden, versions = self.hidden - 1, versions[:-1]
        if not versions:
            raise RefusalError(403, "Permission 'kernels.get' was denied")
        body = versions[-1].body
        lists = {
            key: [self.spelt(name) for name in body.get(key, [])]
            for key in body
            if key.endswith("DataSources") and key != self.dropped
        }
        return {"metadata": {"currentVersionNumber": len(versions), **lists}, "blob": {"source": body.get("text", "")}}

    def status(self, call: Call) -> Any:
        version = self._version(call)
        state = version.states.pop(0) if len(version.states) > 1 else version.states[0]
        return {"status": state, **({"failureMessage": version.failure} if version.failure else {})}

    def output(self, call: Call) -> Any:
        version = self._version(call)
        number = int(call.body.get("pageToken", 0))
        names = version.pages[number] if version.pages else []
        files = [{"fileName": name, "url": f"{self.server.address}/output/{name}"} for name in names]
        more = {"nextPageToken": str(number + 1)} if number + 1 < len(version.pages) else {}
        return {"files": files, "log": version.log, **more}

    def _version(self, call: Call) -> Version:
        """As Kaggle: a label that is no `v` and number is not found."""
        versions = self.kept.get(f"{call.body['userName']}/{call.body['kernelSlug']}", [])
        label = call.body.get("versionLabel", f"v{len(versions)}")
        if not label.startswith("v") or not 1 <= int(label[1:]) <= len(versions):
            raise RefusalError(404, "Not found")
        return versions[int(label[1:]) - 1]

    def download(self, request: Request, path: str) -> None:
        body = self.files[path.removeprefix("/output/")]
        wanted = request.headers.get("Range", "")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if self.ranges and wanted and first >= len(body):
            raise RefusalError(416, headers={} if self.lengths else {"Content-Range": f"bytes */{len(body)}"})
        end = min(len(body), first + self.longest) if first and self.longest else len(body)
        request.send_response(206 if first else 200)
        if self.lengths:
            request.send_header("Content-Length", str(end - first))
        if first:
            request.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(body) if self.lengths else '*'}")
        request.end_headers()
        if not self.lengths:
            request.wfile.write(body[first : first + self.cuts.pop(0)] if self.cuts else body[first:])
            raise CutError  # that is how it tells its end
        if end < len(body):
            request.wfile.write(body[first:end])
            return
        if self.cuts:
            request.wfile.write(body[first : first + self.cuts.pop(0)])
            request.wfile.flush()
            raise CutError
        request.wfile.write(body[first:])

    def model(self, call: Call) -> Any:
        names = (call.body[key] for key in ("ownerSlug", "modelSlug", "framework", "instanceSlug"))
        if "/".join([*names, str(call.body["versionNumber"])]) not in self.models:
            raise RefusalError(404, "Not found")
        return {"files": [{"name": "config.json"}]}

    def hours(self, call: Call) -> Any:
        if self.quota is None:
            raise RefusalError(404)
        return {"gpuQuota": self.quota} | self.more_quota

    def stream(self, call: Call) -> Any:
        """As the kaggle client's own help has it: events while the run goes on, else the log."""
        version = self._version(call)
        if not version.streams:
            return version.log.encode()
        return Streamed(version.streams.pop(0))


def events(*lines: tuple[str, float, str], end: bool = False) -> bytes:
    """The same as a stream of events, each a chunk; at its end the mark, if `end`."""
    entries = ({"stream_name": stream, "time": at, "data": data} for stream, at, data in lines)
    told = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    return CUT.join(f"data: {each}\n\n".encode() for each in [*told, *(["END_OF_LOG"] if end else [])])


def entries(*lines: tuple[str, float, str]) -> str:
    """A log as Kaggle keeps it: stream, seconds and text of each entry."""
    told = (json.dumps({"stream_name": stream, "time": at, "data": data}) for stream, at, data in lines)
    return "[" + "\n,".join(told) + "\n]"
