"""The push: SaveKernel, of which every complaint is a failure, and which is never sent twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cascade.base import manifest
from cascade.competitions import registry
from cascade.config import handles
from cascade.config.schema import Config
from packer.datasets import contents, staging
from packer.kaggle import datasets, kernel, polling, runs, sources, state
from packer.kaggle.kernel import METADATA, NOTEBOOK, KernelError
from packer.kaggle.session import KaggleError, Session
from packer.kaggle.state import Pushed, StateError
from packer.wheels.images import Image

# The fields of SaveKernel's answer that say what was left out; the command-line client prints the first four only.
COMPLAINTS = {
    "error": "Kaggle says",
    "invalid_tags": "no such tags",
    "invalid_dataset_sources": "no such datasets, or not open to this login",
    "invalid_competition_sources": "no such competitions, or not entered",
    "invalid_kernel_sources": "no such kernels",
    "invalid_model_sources": "no such models, or their licence is not accepted",
}

SOURCES = ("dataset", "kernel", "model", "competition")


class MadeError(KernelError):
    """A push that made a version, or may have made one, and which must not be repeated unseen."""


def push_kernel(
    session: Session,
    config: Config,
    image: Image,
    path: Path = METADATA,
    say: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
    run: bool = True,
) -> Pushed:
    """Makes the kernel for `config` on `image`, checks all that can be known beforehand, pushes it and remembers it.

    Without `run` the version is saved only, which costs no quota and can be run on Kaggle's page.

    The datasets were staged and pushed before, and nothing has changed since. KernelError names every problem found;
    `say` is told warnings.
    """
    kinds = contents.kinds(config)
    staged = {kind: datasets.staged_manifest(staging.staged_folder(kind, image)) for kind in kinds}
    metadata = kernel.read(path)
    found = kernel.problems(metadata, path, config, image, session.owner)
    if not found:
        found = [problem for kind in kinds if (problem := staging.stale(kind, staged[kind], config, image))]
    if found:
        raise KernelError(*found)
    slugs = {kind: staging.metadata(kind, image).slug for kind in kinds}
    filled = kernel.fill(metadata, config, image, session.owner, [*slugs.values()])
    found = [f"{path}: {problem}" for problem in sources.unready(session, filled)]
    if found:
        raise KernelError(*found)
    found = [
        f"{session.owner}/{slug}: Kaggle's version differs from what is packed here; run: make push-datasets"
        for kind, slug in slugs.items()
        if not manifest.same(datasets.Remote(session, slug).manifest(kind), staged[kind])
    ]
    if found:
        raise KernelError(*found)
    commit, dirty = staging.git(say)
    if commit != staged["code"].commit:
        say("warning: the code was packed at another commit; pack it again: make pack")
    kernel.write(
        filled, path.parent / metadata["code_file"], registry.of(config), staged["code"].about["config"], state.FOLDER
    )
    slug = filled["id"].partition("/")[2]
    attempt = {"owner": session.owner, "slug": slug, "config": config.path.as_posix(), "at": state.now()}
    state.remember(state.ATTEMPT, attempt)
    version, url = push(session, state.FOLDER, sleep, run)
    pushed = Pushed(
        session.owner, slug, version, url, metadata["competition_sources"][0], config.path.as_posix(), image.name,
        commit, dirty, state.now(), run,
    )  # fmt: skip
    try:
        state.remember("state", pushed)
    except StateError as error:
        raise MadeError(
            f"version {version} of {pushed.owner}/{slug} was pushed, but {error.found}", mend=error.mend
        ) from error
    (state.FOLDER / f"{state.ATTEMPT}.json").unlink()
    return pushed


def push(
    session: Session, folder: Path, sleep: Callable[[float], None] = time.sleep, run: bool = True
) -> tuple[int, str]:
    """Pushes what `kernel.write` left in `folder`, which starts its run if `run`; returns the version and its address.

    KernelError names all that Kaggle complains of. A version that it made nevertheless lacks those sources.
    """
    metadata: dict[str, Any] = json.loads((folder / METADATA.name).read_text(encoding="utf-8"))
    text = (folder / NOTEBOOK).read_text(encoding="utf-8")
    before = runs.newest_number(session, metadata["id"])
    request = _request(metadata, text, run)
    call = session.client.kernels.kernels_api_client.save_kernel
    try:
        answer = session.call(f"push of {metadata['id']}", lambda: call(request), repeatable=False)
    except KaggleError as error:
        if error.status is not None and error.status < 500:
            raise
        return _lost(session, metadata, before, error, sleep)
    made = f"version {answer.version_number} was made without" if answer.version_number else "nothing was made"
    found = [
        f"{metadata['id']}: {said}: {_words(getattr(answer, key))} ({made}); fix this and push again"
        for key, said in COMPLAINTS.items()
        if getattr(answer, key)
    ]
    if found:
        raise (MadeError if answer.version_number else KernelError)(*found)
    if not answer.version_number:
        nothing = KaggleError(
            "Kaggle's answer names no version", key=f"push of {metadata['id']}", mend="look at its page"
        )
        return _lost(session, metadata, before, nothing, sleep)
    return answer.version_number, answer.url


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _request(metadata: dict[str, Any], text: str, run: bool) -> Any:
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest
    from kagglesdk.kernels.types.kernels_enums import KernelExecutionType

    request = ApiSaveKernelRequest()
    request.slug, request.new_title, request.text = metadata["id"], metadata["title"], text
    for key in ("language", "kernel_type", "is_private", "enable_gpu", "enable_internet", "docker_image_pinning_type"):
        setattr(request, key, metadata[key])
    for key in ("machine_shape", "docker_image"):
        if key in metadata:
            setattr(request, key, metadata[key])
    for kind in SOURCES:
        setattr(request, f"{kind}_data_sources", metadata[f"{kind}_sources"])
    if not run:
        request.kernel_execution_type = KernelExecutionType.QUICK_SAVE
    return request


def _lost(
    session: Session, metadata: dict[str, Any], before: int, error: KaggleError, sleep: Callable[[float], None]
) -> tuple[int, str]:
    """The push's answer was lost: whether it was done, and with all its sources, told by the newest version."""
    page = f"https://www.kaggle.com/code/{metadata['id']}"

    def look() -> Any:
        found = runs.newest(session, metadata["id"])
        return found if found is not None and (found.current_version_number or 0) > before else None

    kernel = polling.looked_for(look, sleep)
    if kernel is None:
        raise MadeError(
            f"{error}; no new version of {metadata['id']} is listed",
            mend=f"look at its page first, {page}, and push again only if there is none",
        ) from error
    missing = [
        name
        for key in SOURCES
        for name in metadata[f"{key}_sources"]
        if handles.source(name) not in map(handles.source, getattr(kernel, f"{key}_data_sources"))
    ]
    if missing:
        raise MadeError(
            f"version {kernel.current_version_number} was made, but Kaggle's answer was lost and its inputs lack "
            f"{', '.join(missing)}",
            key=metadata["id"],
            mend="look at its page, and push again if they are not there",
        ) from error
    return kernel.current_version_number, page
