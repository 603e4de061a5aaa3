"""One dataset at Kaggle: made, given a new version, or left as it is; then waited for until it is ready."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from cascade.base import manifest
from cascade.base.manifest import Entry, Manifest, ManifestError
from cascade.base.printable import printable
from cascade.config import handles
from cascade.config.schema import Config
from packer.datasets import contents, models, staging
from packer.datasets.rules import DatasetError, DatasetMetadata, metadata
from packer.kaggle import polling, state, storage
from packer.kaggle.answers import present
from packer.kaggle.session import ABSENT, KaggleError, Session
from packer.kaggle.upload import State, upload
from packer.wheels.images import Image

ORDER = ("wheels", "adapters", "code")  # code last: it is what uses the others
PROCESSING = 3600.0  # seconds that Kaggle is given to unpack a version
LONGEST_PAUSE = 30.0  # seconds between two questions after the status
LOOKS = 6  # at a status that may be the former version's: a minute
ENDS = ("READY", "FAILED")  # of a version's processing
REFUSED = (400, 404, 409)
MEND = "choose another slug and title in dataset-metadata.json"


@dataclass(frozen=True)
class Outcome:
    """`version`: the dataset's current one; `sent`: bytes of files that went over the wire."""

    ref: str
    state: Literal["created", "updated", "unchanged"]
    version: int
    sent: int

    @property
    def url(self) -> str:
        return f"https://www.kaggle.com/datasets/{self.ref}"


def staged(config: Config, image: Image, kinds: Sequence[str] | None = None) -> list[tuple[Path, DatasetMetadata]]:
    """The datasets that `make pack` left for a config and an image, or those `kinds`, in the order of the push.

    DatasetError where one is missing, is no longer what its manifest says, or not what the project holds now.
    """
    found = []
    for kind in sorted(kinds or contents.kinds(config), key=ORDER.index):
        folder = staging.staged_folder(kind, image)
        if problem := staging.stale(kind, staged_manifest(folder), config, image):
            raise DatasetError.of_sentence(problem)
        found.append((folder, metadata(kind, image)))
    return found


def table(pushed: Iterable[Outcome]) -> Table:
    """What became of each dataset, for the terminal."""
    found = Table("dataset", "state", "sent", "version", "address")
    for each in pushed:
        found.add_row(each.ref, each.state, decimal(each.sent), str(each.version), each.url)
    return found


def push(
    session: Session, folder: Path, about: DatasetMetadata, limit: float = PROCESSING, replaces: bool = False
) -> Outcome:
    """Brings the login's dataset of that slug to what `folder` holds, and waits at most `limit` seconds for Kaggle.

    Nothing is uploaded where the current version has the same manifest but for the commit. What a run that was cut had
    uploaded is taken up again from `<folder>.upload.jsonl`, the version that it asked for from `<folder>.asked.json`.
    `replaces`: a model may take the place of another one.
    """
    local = staged_manifest(folder)
    remote = Remote(session, about.slug, limit, models.RENAME if local.kind == models.KIND else MEND)
    uploaded, asked = folder.with_name(f"{folder.name}.upload.jsonl"), Asked(folder, remote.ref)
    status = remote.status()
    if status is not None and asked.waits:
        status = asked.end(remote.wait(asked.former, asked.failed), uploaded)
    elif status not in (None, *ENDS):
        status = remote.wait()  # else Kaggle refuses another version
    # A dataset that we made and that was never ready has no manifest to show.
    if status is not None and not (asked.known and status == "FAILED"):
        there = remote.manifest(local.kind)
        if status == "READY" and manifest.same(there, local):
            uploaded.unlink(missing_ok=True)
            return Outcome(remote.ref, "unchanged", remote.version(), 0)
        if not replaces and there.about.get("identity") != local.about.get("identity"):
            raise DatasetError(
                "is another model: its config, or its weights' names or sizes, are others",
                key=remote.ref,
                mend=f"{models.RENAME}, or REPLACE=1 (--replace) to have the new one wherever a config names it",
            )
    former = None if status is None else remote.version()
    uploads = State(uploaded)
    if warning := storage.check(session, remote.ref, local.size):
        Console(stderr=True).print(printable(f"warning: {warning}"), highlight=False, markup=False, soft_wrap=True)
    sent = upload(session, folder, {manifest.FILE: _own_entry(folder), **local.files}, uploads)
    try:
        if former is None:
            remote.create(about, sent.tokens)
        else:
            remote.update(about, sent.tokens, _notes(local))
    except KaggleError as error:
        if error.status in REFUSED:
            raise DatasetError(str(error), mend=f"{remote.mend}, or remove {uploaded} to upload all again") from error
        if error.status is not None and error.status < 500:
            raise
        remote.look_for(former, error)
    asked.begin(former, failed=status == "FAILED")
    if asked.end(remote.wait(asked.former, asked.failed), uploaded) == "FAILED":
        raise DatasetError(f"Kaggle could not process the files ({remote.reason()})", key=remote.ref, mend="push again")
    return Outcome(remote.ref, "created" if former is None else "updated", remote.version(), sent.size)


class Asked:
    """The version that Kaggle was asked for last, on disk until it was ready: `known`, and `waits` for its end.

    `former`: the number of the version before it, whose READY is not its own; `failed`: neither is its FAILED.
    """

    def __init__(self, folder: Path, ref: str) -> None:
        self.name, self.folder, self.ref = f"{folder.name}.asked", folder.parent, ref
        found = state.recall(self.name, self.folder)
        self.known = found.get("ref") == ref
        self.waits = self.known and bool(found.get("waits"))
        self.former, self.failed = found.get("former"), bool(found.get("failed"))

    def begin(self, former: int | None, failed: bool) -> None:
        self.former, self.failed = former, failed
        self._write(waits=True)

    def end(self, status: str, uploaded: Path) -> str:
        """Kaggle has come to `status`, and what was uploaded for it is spent. A failure is remembered: it was ours."""
        uploaded.unlink(missing_ok=True)
        if status == "FAILED":
            self._write(waits=False)
        else:
            (self.folder / f"{self.name}.json").unlink()
        return status

    def _write(self, waits: bool) -> None:
        told = {"ref": self.ref, "waits": waits, "former": self.former, "failed": self.failed}
        state.remember(self.name, told, self.folder)


def _notes(local: Manifest) -> str:
    if local.kind == models.KIND:
        return str(local.about["model"])
    return (local.commit or "no commit") + (" and changes not committed" if local.dirty else "")


def staged_manifest(folder: Path) -> Manifest:
    """The manifest of a staged folder; DatasetError where its files are no longer what it says.

    Sizes are compared; bytes only of a file that was written after the manifest.
    """
    if not (folder / manifest.FILE).is_file():
        raise DatasetError("nothing is staged here", path=folder, mend="run: make pack")
    found = manifest.read(folder)
    since = (folder / manifest.FILE).stat().st_mtime_ns
    problems = manifest.problems(folder, hashed=False)
    for name, entry in () if problems else found.files.items():
        path = folder / name
        if path.stat().st_mtime_ns > since and manifest.sha256(path) != entry.sha256:
            problems.append(f"{name}: has changed")
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DatasetError(f"does not match its manifest ({problems[0]}{more})", path=folder, mend="run: make pack")
    return found


def _own_entry(folder: Path) -> Entry:
    path = folder / manifest.FILE
    return Entry(path.stat().st_size, manifest.sha256(path))


class Remote:
    """The login's dataset `slug` at Kaggle, which may not be there; `limit`: seconds to wait for its processing.

    `mend`: what to do where the name is taken.
    """

    def __init__(self, session: Session, slug: str, limit: float = PROCESSING, mend: str = MEND) -> None:
        self.mend = mend
        self.session, self.slug, self.limit = session, slug, limit
        self.ref = f"{session.owner}/{slug}"
        self.api = session.client.datasets.dataset_api_client

    def status(self) -> str | None:
        """Kaggle's word for the newest version: READY, FAILED or a step on the way; None where no dataset is."""
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

        request = self._named(ApiGetDatasetStatusRequest())
        try:
            answer = self.session.call(f"status of {self.ref}", lambda: self.api.get_dataset_status(request))
        except KaggleError as error:
            if error.status in ABSENT:
                return None
            raise
        return None if answer.status.name == "DELETED" else str(answer.status.name)

    def wait(self, former: int | None = None, failed: bool = False) -> str:
        """READY or FAILED, once the newest version is.

        Right after an update the status may still be the former version's. So READY counts only with a number beyond
        `former`, where that is given; and where the former one had `failed`, FAILED only after another status, or when
        it stays.
        """
        start = time.monotonic()
        with Console(stderr=True).status(f"{self.ref}: Kaggle starts to process it") as line:
            for look, pause in enumerate(polling.growing(LONGEST_PAUSE, first=self.session.pause)):
                status = self.status() or "not there yet"
                failed = failed and status == "FAILED" and look < LOOKS
                if status == "FAILED" and not failed:
                    return status
                if status == "READY" and (former is None or self.version() > former):
                    return status
                if time.monotonic() + pause > start + self.limit:
                    break
                line.update(f"{self.ref}: {status.lower().replace('_', ' ')}, {time.monotonic() - start:.0f} s")
                time.sleep(pause)
        raise DatasetError(
            f"Kaggle is still processing it after {self.limit / 60:.0f} minutes ({status})",
            key=self.ref,
            mend="look at its page, and push again later: nothing is uploaded twice",
        )

    def version(self) -> int:
        """The current version's number."""
        return int(self._get().current_version_number or 0)

    def look_for(self, former: int | None, error: KaggleError) -> None:
        """What was asked for may have been made though its answer was lost by `error`; DatasetError where it was not.

        `former`: the current version's number beforehand, None where there was no dataset.
        """

        def look() -> bool | None:
            status = self.status()
            begun = status not in (None, *ENDS) if former is not None else status is not None
            return begun or (former is not None and self.version() > former) or None

        if not polling.looked_for(look, lambda seconds: time.sleep(seconds * self.session.pause)):
            raise DatasetError(
                f"{error}; no new version of {self.ref} is listed",
                mend=f"look at kaggle.com/datasets/{self.ref}, and push again once it is ready, or if there is none",
            ) from error

    def reason(self) -> str:
        """What Kaggle says of its newest version."""
        versions = sorted(self._get().versions, key=lambda each: each.version_number or 0)
        return versions[-1].status if versions and versions[-1].status else "no reason is given"

    def _get(self) -> Any:
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = self._named(ApiGetDatasetRequest())

        def ask() -> Any:
            answer = self.api.get_dataset(request)
            present(answer.ref, "ref")
            return answer

        return self.session.call(f"dataset {self.ref}", ask)

    def manifest(self, kind: str) -> Manifest:
        """That of the current version; DatasetError where it has none of this kind: it is another dataset."""
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        request = self._named(ApiDownloadDatasetRequest())
        request.file_name, request.raw = manifest.FILE, True
        what = f"{manifest.FILE} of {self.ref}"
        try:
            answer = self.session.call(what, lambda: self.api.download_dataset(request))
            found = manifest.parse(answer.text, what)
            if found.kind == kind:
                return found
            why = f"it contains {found.kind}, not {kind}"
        except ManifestError as error:
            why = str(error)
        except KaggleError as error:
            if error.status not in ABSENT:
                raise
            why = f"it has no {manifest.FILE}"
        raise DatasetError(
            f"was not made by this project ({why})", key=self.ref, mend=f"{self.mend}, or delete it at Kaggle"
        )

    def create(self, about: DatasetMetadata, tokens: Mapping[str, str]) -> None:
        """Makes it, private, of the uploaded files."""
        from kagglesdk.datasets.types.dataset_api_service import ApiCreateDatasetRequest

        request = ApiCreateDatasetRequest()
        request.owner_slug, request.slug, request.title = self.session.owner, self.slug, about.title
        request.subtitle, request.license_name, request.is_private = about.subtitle, about.licence, True
        request.files, request.directories = tree(tokens)
        what = f"making {self.ref}"
        self._check(what, self.session.call(what, lambda: self.api.create_dataset(request), repeatable=False))

    def update(self, about: DatasetMetadata, tokens: Mapping[str, str], notes: str) -> None:
        """Gives it a version of the uploaded files. While the former one is processed Kaggle refuses: it is waited for.

        The former versions stay, so that a kernel which is pinned to one still runs.
        """
        from kagglesdk.datasets.types import dataset_api_service as types

        request = self._named(types.ApiCreateDatasetVersionRequest())
        request.body = types.ApiCreateDatasetVersionRequestBody()
        request.body.version_notes, request.body.subtitle = notes, about.subtitle
        request.body.files, request.body.directories = tree(tokens)
        what, make = f"a new version of {self.ref}", partial(self.api.create_dataset_version, request)
        for waited in (False, True):
            try:
                answer = self.session.call(what, make, repeatable=False)
                break
            except KaggleError as error:
                if error.status != 403 or waited:
                    raise
                self.wait()
        self._check(what, answer)

    def _named(self, request: Any) -> Any:
        request.owner_slug, request.dataset_slug = self.session.owner, self.slug
        return request

    def _check(self, what: str, answer: Any) -> None:
        """DatasetError for whatever of an answer is no success: Kaggle sends errors under status 200 too."""
        wrong = [answer.error, *(f"tag '{tag}' is not valid" for tag in answer.invalid_tags)]
        if (answer.status or "").lower() == "error" and not answer.error:
            wrong.append("an error without a reason")
        if found := "; ".join(filter(None, wrong)):
            raise DatasetError(f"Kaggle answers: {found}", key=what, mend=f"correct what it names, or {self.mend}")
        made = handles.source(answer.ref or "")
        if made and made != self.ref.lower():
            raise DatasetError(f"Kaggle made {made} instead", key=what, mend=f"delete it at Kaggle, and {self.mend}")


def tree(tokens: Mapping[str, str]) -> tuple[list[Any], list[Any]]:
    """Files and folders of a request, from tokens by path: kagglesdk's ApiDatasetNewFile, ApiUploadDirectoryInfo."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDatasetNewFile, ApiUploadDirectoryInfo

    files = []
    inside: dict[str, dict[str, str]] = {}
    for path, token in tokens.items():
        folder, _, rest = path.partition("/")
        if rest:
            inside.setdefault(folder, {})[rest] = token
        else:
            file = ApiDatasetNewFile()
            file.token = token
            files.append(file)
    folders = []
    for name, below in inside.items():
        folder = ApiUploadDirectoryInfo()
        folder.name = name
        folder.files, folder.directories = tree(below)
        folders.append(folder)
    return files, folders
