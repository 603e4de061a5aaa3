"""Uploading, of `python -m tests.bench`: against a plain PUT, a push with nothing new, and what cuts cost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from cascade.base import manifest
from cascade.base.manifest import Entry, Manifest
from packer.datasets.rules import DatasetMetadata
from packer.kaggle.datasets import push
from packer.kaggle.session import Session
from packer.kaggle.upload import CHUNK, State, upload
from tests.kaggle_server import KaggleServer
from tests.kaggle_server.datasets import Blob, Datasets

Figures = Iterator[tuple[str, float, str]]
ABOUT = DatasetMetadata("some-wheels", "Some wheels", "Wheels for a kernel that is offline", "other")
MEGABYTE = 10**6
FILES, EACH = 4, 64 * MEGABYTE
WHEELS, WHEEL = 180, 28 * MEGABYTE  # 5 GB, as the T4's
CUTS = 20


@contextmanager
def kaggle(folder: Path) -> Iterator[tuple[Datasets, Session]]:
    """A server and a login at it."""
    with pytest.MonkeyPatch.context() as patch, KaggleServer() as server, server.login(patch):
        patch.setenv("HOME", str(folder))
        yield Datasets(server), Session(pause=0.01)


def make(folder: Path) -> dict[str, Entry]:
    """`FILES` files of random bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for number in range(FILES):
        path = folder / f"{number}.bin"
        path.write_bytes(random.Random(number).randbytes(EACH))
        entries[path.name] = Entry(EACH, manifest.sha256(path))
    return entries


def throughput(folder: Path) -> float:
    """Seconds of a plain PUT of each file, one after the other, by those of an upload with its hashes and chunks."""
    entries = make(folder / "data")
    with kaggle(folder) as (store, session):
        start = time.perf_counter()
        for name in entries:
            store.blobs[name] = Blob(name, name, EACH)
            with (folder / "data" / name).open("rb") as file:
                requests.put(f"{store.server.address}/blobs/{name}", data=file).raise_for_status()
        plain = time.perf_counter() - start
        start = time.perf_counter()
        upload(session, folder / "data", entries, State(folder / "state"))
        return plain / (time.perf_counter() - start)


def unchanged(folder: Path) -> tuple[float, int]:
    """Seconds of a push of 5 GB that Kaggle has already, and bytes sent. The files have holes: none of them is read."""
    staged = folder / "some-wheels"
    (staged / "wheels").mkdir(parents=True)
    entries = {}
    for number in range(WHEELS):
        name = f"wheels/{number}.whl"
        with (staged / name).open("wb") as file:
            file.truncate(WHEEL)
        entries[name] = Entry(WHEEL, f"{number:064x}")
    text = Manifest("wheels", "", False, entries).as_json()
    (staged / manifest.FILE).write_text(text, encoding="utf-8")
    with kaggle(folder) as (store, session):
        store.put_version(f"{session.owner}/{ABOUT.slug}", {manifest.FILE: text.encode()})
        start = time.perf_counter()
        pushed = push(session, staged, ABOUT)
        assert pushed.state == "unchanged"
        return time.perf_counter() - start, sum(blob.received for blob in store.blobs.values())


def cut(folder: Path) -> tuple[int, int]:
    """Bytes sent again of an upload cut at random, in all and of what the server had confirmed."""
    entries = make(folder / "data")
    with kaggle(folder) as (store, session):
        drawn = random.Random(1)
        store.cuts = [drawn.randrange(CHUNK + CHUNK // 4) for _ in range(CUTS)]
        upload(session, folder / "data", entries, State(folder / "cut-state"))
        assert not store.cuts and all(blob.complete for blob in store.blobs.values())
        received = sum(blob.received for blob in store.blobs.values())
        return received - FILES * EACH, sum(blob.again for blob in store.blobs.values())


def upload_figures(folder: Path) -> Figures:
    yield "upload_throughput_to_plain_put", throughput(folder), "ratio"
    seconds, sent = unchanged(folder)
    yield "upload_unchanged_5_gb", seconds, "s"
    yield "upload_unchanged_bytes", float(sent), "bytes"
    again, confirmed = cut(folder)
    yield "upload_sent_again_after_20_cuts", again / MEGABYTE, "MB"
    yield "upload_confirmed_sent_again", float(confirmed), "bytes"
