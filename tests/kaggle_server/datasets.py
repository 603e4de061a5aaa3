"""Datasets and blobs of Kaggle's API on loopback, by the rules that were seen or read of: see `Datasets`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tests.kaggle_server import OWNER, Call, CutError, KaggleServer, RefusalError, Request

SERVICE = "datasets.DatasetApiService"
START, PUT = "blobs.BlobApiService/StartBlobUpload", "PUT /blobs"
CREATE, UPDATE = f"{SERVICE}/CreateDataset", f"{SERVICE}/CreateDatasetVersion"
STATUS, GET, DOWNLOAD = f"{SERVICE}/GetDatasetStatus", f"{SERVICE}/GetDataset", f"{SERVICE}/DownloadDataset"
LIST = f"{SERVICE}/ListDatasets"
GRANULE = 256 * 1024  # Google's store keeps whole ones of a body that is cut, and of a chunk that is not the last
PIECE = 64 * 1024


@dataclass
class Blob:
    """One upload: `kept` is what was confirmed, `received` counts bytes of bodies, `again` those confirmed before."""

    token: str
    name: str
    size: int
    kept: bytearray = field(default_factory=bytearray)
    received: int = 0
    again: int = 0
    complete: bool = False


@dataclass
class Version:
    """`polls`: how often its status is asked for before it is ready, or failed where `fails` says why."""

    number: int
    notes: str
    files: dict[str, bytes]
    polls: int = 0
    fails: str = ""


@dataclass
class Dataset:
    ref: str
    about: dict[str, Any]
    versions: list[Version]


class Datasets:
    """Adds its routes to a server.

    A version is processed for `polls` questions after its status, and while it is, another gets 403 and the former one
    is what a download gives. `cuts` are bytes of a body after which the connection is closed, one a PUT that has a
    body; a number beyond the body takes it all and loses the answer. `lost` tokens are of uploads that are unknown.
    """

    def __init__(self, server: KaggleServer, polls: int = 1) -> None:
        self.server, self.polls = server, polls
        self.blobs: dict[str, Blob] = {}
        self.held: dict[str, Dataset] = {}
        self.cuts: list[int] = []
        self.lost: set[str] = set()
        self.fails, self.pause, self.keeps = "", 0.0, True
        server.handlers |= {
            START: self.start, CREATE: self.create, UPDATE: self.update, STATUS: self.status, GET: self.get,
            DOWNLOAD: self.download, LIST: self.list,
        }  # fmt: skip
        server.raw |= {"blobs": self.put, "files": self.file}

    # Blobs

    def start(self, call: Call) -> Any:
        with self.server.lock:
            blob = Blob(f"token-{len(self.blobs)}", call.body["name"], call.body.get("contentLength", 0))
            self.blobs[blob.token] = blob
        return {"token": blob.token, "createUrl": f"{self.server.address}/blobs/{blob.token}"}

    def put(self, request: Request, path: str) -> None:
        length = int(request.headers.get("Content-Length", 0))
        blob = self.blobs.get(path.rpartition("/")[2])
        if blob is None or blob.token in self.lost:
            request.rfile.read(length)
            raise RefusalError(404, "no such upload")
        first, _, rest = request.headers.get("Content-Range", f"bytes 0-{length - 1}/{blob.size}")[6:].partition("-")
        if not first.startswith("*"):
            assert rest == f"{int(first) + length - 1}/{blob.size}", "a range that is not its body's"
            self._take(request, blob, int(first), length)
        if len(blob.kept) == blob.size and (blob.size or not length):
            blob.complete = True
            return request.reply(200)
        return request.reply(308, headers={"Range": f"bytes=0-{len(blob.kept) - 1}"} if blob.kept else {})

    def _take(self, request: Request, blob: Blob, first: int, length: int) -> None:
        with self.server.lock:
            cut = self.cuts.pop(0) if self.cuts and length else None
        body = bytearray()
        for piece in self._pieces(request, length if cut is None else min(cut, length)):
            body += piece
            blob.received += len(piece)
            blob.again += max(0, min(len(piece), len(blob.kept) - first - len(body) + len(piece)))
        assert first <= len(blob.kept), "a body beyond what is confirmed"
        end = first + len(body)
        end = end if end == blob.size else end // GRANULE * GRANULE
        if self.keeps and end > len(blob.kept):
            blob.kept[first:] = body[: end - first]
        if cut is not None:
            raise CutError

    def _pieces(self, request: Request, length: int) -> Iterator[bytes]:
        while length:
            piece = request.rfile.read(min(PIECE, length))
            if not piece:  # the client is gone
                return
            time.sleep(self.pause)
            length -= len(piece)
            yield piece

    # Datasets

    def put_version(self, ref: str, files: dict[str, bytes], **about: Any) -> Version:
        """A version that is there already."""
        dataset = self.held.setdefault(ref, Dataset(ref, about, []))
        version = Version(len(dataset.versions) + 1, "", files)
        dataset.versions.append(version)
        return version

    def create(self, call: Call) -> Any:
        body = call.body
        ref = f"{body['ownerSlug']}/{body['slug']}"
        if body["ownerSlug"] != OWNER:
            return {"status": "error", "error": "You are not allowed to create a dataset as this owner."}
        if ref in self.held:
            return {"status": "error", "error": f'The requested slug "{body["slug"]}" is already in use'}
        if any(body["title"] == each.about.get("title") for each in self.held.values()):
            return {"status": "error", "error": f'The requested title "{body["title"]}" is already in use by a dataset'}
        about = {key: body.get(key) for key in ("title", "subtitle", "licenseName", "isPrivate")}
        return self._add(Dataset(ref, about, []), body, "")

    def update(self, call: Call) -> Any:
        dataset = self._dataset(call)
        if dataset.versions[-1].polls:
            raise RefusalError(403, "Permission 'datasets.update' was denied")
        return self._add(dataset, call.body["body"], call.body["body"].get("versionNotes", ""))

    def _add(self, dataset: Dataset, body: Any, notes: str) -> Any:
        files = dict(self._files(body, PurePosixPath()))
        self.held[dataset.ref] = dataset
        dataset.versions.append(Version(len(dataset.versions) + 1, notes, files, self.polls, self.fails))
        return {"ref": dataset.ref, "url": f"https://www.kaggle.com/datasets/{dataset.ref}", "status": "ok"}

    def _files(self, body: Any, folder: PurePosixPath) -> Iterator[tuple[str, bytes]]:
        for each in body.get("files", []):
            blob = self.blobs[each["token"]]
            if not blob.complete:
                raise RefusalError(400, f"the upload of {blob.name} is not complete")
            yield str(folder / blob.name), bytes(blob.kept)
        for each in body.get("directories", []):
            yield from self._files(each, folder / each["name"])

    def status(self, call: Call) -> Any:
        version = self._dataset(call).versions[-1]
        if version.polls:
            version.polls -= 1
            return {"status": "BLOBS_RECEIVED"}
        return {"status": "FAILED" if version.fails else "READY"}

    def get(self, call: Call) -> Any:
        dataset = self._dataset(call)
        versions = [
            {"versionNumber": each.number, "status": each.fails or "Ready", "versionNotes": each.notes}
            for each in dataset.versions
        ]
        current = self._current(dataset)
        about = {**dataset.about, "isPrivate": bool(dataset.about.get("isPrivate"))}
        return {"ref": dataset.ref, "currentVersionNumber": current.number, "versions": versions, **about}

    def list(self, call: Call) -> Any:
        """Two a page, whatever size is asked for."""
        assert call.body["group"] == "DATASET_SELECTION_GROUP_MY_PRIVATE"
        first = int(call.body.get("pageToken") or 0)
        own = [each for each in self.held.values() if each.about.get("isPrivate", True)]
        page = [{"ref": each.ref, "totalBytes": self._size(each)} for each in own[first : first + 2]]
        return {"datasets": page, "nextPageToken": str(first + 2) if first + 2 < len(own) else ""}

    @staticmethod
    def _size(dataset: Dataset) -> int:
        return int(dataset.about.get("size", sum(map(len, dataset.versions[-1].files.values()))))

    def download(self, call: Call) -> Any:
        self._dataset(call)
        path = f"{call.body['ownerSlug']}/{call.body['datasetSlug']}/{call.body['fileName']}"
        raise RefusalError(302, headers={"Location": f"{self.server.address}/files/{path}"})

    def file(self, request: Request, path: str) -> None:
        _, owner, slug, name = path.strip("/").split("/", 3)
        version = self._current(self.held[f"{owner}/{slug}"])
        found = version.files.get(name)
        if found is None or version.fails:
            raise RefusalError(404, f"no file {name}")
        request.reply(200, found)

    def _dataset(self, call: Call) -> Dataset:
        found = self.held.get(f"{call.body.get('ownerSlug')}/{call.body.get('datasetSlug')}")
        if found is None:
            raise RefusalError(404, "Not found")
        return found

    @staticmethod
    def _current(dataset: Dataset) -> Version:
        ready = [each for each in dataset.versions if not each.polls and not each.fails]
        return ready[-1] if ready else dataset.versions[-1]
