"""What Kaggle takes as a dataset: its metadata, its files' names, its size. Checked before a byte is uploaded.

Limits are those of the kaggle client 2.2.5 (`dataset_create_new`) and of Kaggle's documentation of it
(github.com/Kaggle/kaggle-cli, docs/datasets_metadata.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade.base.errors import CascadeError, nearest
from packer.wheels.images import Image

FILE = Path("dataset-metadata.json")
KEYS = ("id", "title", "subtitle", "licenses")
SLUG = r"[a-z0-9]+(-[a-z0-9]+)*"
SLUG_LENGTHS, TITLE_LENGTHS, SUBTITLE_LENGTHS = (6, 50), (6, 50), (20, 80)
LICENCES = (
    "CC0-1.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "GPL-2.0", "ODbL-1.0", "DbCL-1.0",
    "copyright-authors", "other", "unknown", "CC-BY-4.0", "CC-BY-NC-4.0", "PDDL", "CC-BY-3.0", "CC-BY-3.0-IGO",
    "US-Government-Works", "CC-BY-NC-SA-3.0-IGO", "CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "CC-BY-ND-4.0",
    "CC-BY-NC-ND-4.0", "ODC-BY-1.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "EU-ODP-Legal-Notice", "apache-2.0", "GPL-3.0",
)  # fmt: skip
TOP_LEVEL = 50  # files and folders
LARGEST = 200 * 10**9  # bytes of a dataset
# Kaggle refuses a dataset for one file name, after the upload ("File name contains invalid character (&)", kaggle-cli
# issues 430 and 524: & and @). It publishes no list, so only what no URL has to escape is let through.
NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]+")
WHEEL_MENDS = {
    "+": "pin a version without a local label (what comes after +)",
    "!": "pin a version without an epoch (what comes before !)",
}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


class DatasetError(CascadeError):
    """What Kaggle would refuse or change; names the key or the file, and the mend."""


@dataclass(frozen=True)
class DatasetMetadata:
    """What a dataset is called at Kaggle; its owner is whoever pushes it. `licence`: a name that Kaggle knows."""

    slug: str
    title: str
    subtitle: str
    licence: str


def metadata(kind: str, image: Image, path: Path = FILE) -> DatasetMetadata:
    """One dataset's metadata, from the project's own, whose id, title and subtitle it continues; else DatasetError."""
    told = _read(path)
    suffix = f"{kind} {image.name}" if kind == "wheels" else kind
    slug = f"{told['id']}-{suffix}".replace(" ", "-")
    found = DatasetMetadata(slug, f"{told['title']} {suffix}", f"{told['subtitle']}: {suffix}", told["licence"])
    if not re.fullmatch(SLUG, slug):
        raise DatasetError(
            f"'{told['id']}' gives the slug '{slug}'",
            path=path,
            key="id",
            mend="write it with a-z, 0-9 and single hyphens, without an owner",
        )
    return checked(found, path)


def checked(found: DatasetMetadata, where: Path | str, mend: str = "") -> DatasetMetadata:
    """The metadata as it is; DatasetError for what is too short or too long, or no licence of Kaggle's.

    `where`: what it was read from. `mend`: what to do, if that is not to change the text there.
    """
    for key, text, (least, most) in (
        ("id", found.slug, SLUG_LENGTHS),
        ("title", found.title, TITLE_LENGTHS),
        ("subtitle", found.subtitle, SUBTITLE_LENGTHS),
    ):
        if not least <= len(text) <= most:
            change = "lengthen" if len(text) < least else "shorten"
            raise DatasetError(
                f"'{text}' has {len(text)} characters, and Kaggle accepts {least} to {most}",
                path=where,
                key=key,
                mend=mend or f"{change} it",
            )
    if found.licence not in LICENCES:
        raise DatasetError(
            f"'{found.licence}' is not a licence that Kaggle knows{nearest(found.licence, LICENCES)}",
            path=where,
            key="licenses",
            mend=f"use one of {', '.join(LICENCES)}",
        )
    return found


def _read(path: Path) -> dict[str, str]:
    """`id`, `title`, `subtitle` and `licence` of the file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot be read ({error})", path=path, mend="restore it") from error
    if not isinstance(raw, dict):
        raise DatasetError("is not a JSON object", path=path, mend="restore it")
    for key in raw:
        if key not in KEYS:
            raise DatasetError(f"unknown key '{key}'{nearest(key, KEYS)}", path=path, mend="remove or correct it")
    for key in KEYS[:3]:
        if not isinstance(raw.get(key), str) or not raw[key].strip():
            raise DatasetError("is missing or not text", path=path, key=key, mend="write it")
    licences = raw.get("licenses")
    if not isinstance(licences, list) or len(licences) != 1:
        count = len(licences) if isinstance(licences, list) else "no list of"
        raise DatasetError(
            f"has {count} entries, and Kaggle accepts exactly one", path=path, key="licenses", mend="keep one"
        )
    name = licences[0].get("name") if isinstance(licences[0], dict) else None
    return {**{key: raw[key].strip() for key in KEYS[:3]}, "licence": str(name)}


def check_files(slug: str, sizes: Mapping[str, int], uploaded: bool = True) -> None:
    """DatasetError for names and sizes that Kaggle refuses or changes; `sizes` in bytes, by name with `/`.

    Where it is not `uploaded`, a wheel's name may have an epoch and a local label: `torch-2.13.0+cpu-….whl`.
    """
    top = {name.partition("/")[0] for name in sizes}
    if len(top) > TOP_LEVEL:
        raise DatasetError(
            f"{len(top)} files and folders at the top, and Kaggle accepts {TOP_LEVEL}",
            key=slug,
            mend="put them into a folder",
        )
    if sum(sizes.values()) > LARGEST:
        largest = max(sizes, key=lambda name: sizes[name])
        raise DatasetError(
            f"{sum(sizes.values()) / 1e9:.1f} GB, and Kaggle accepts {LARGEST // 10**9} GB a dataset",
            key=slug,
            mend=f"leave something out (the largest is {largest}, {sizes[largest] / 1e9:.1f} GB)",
        )
    for name in sorted(sizes):
        _check_name(slug, name if uploaded or not name.endswith(".whl") else re.sub(r"[+!]", "", name))


def _check_name(slug: str, name: str) -> None:
    if name.endswith(ARCHIVES):
        raise DatasetError(
            f"{name} is an archive, which Kaggle would unpack", key=slug, mend="put its files there instead"
        )
    for part in name.split("/"):
        if NAME.fullmatch(part):
            continue
        odd = next((letter for letter in part if not re.fullmatch(r"[A-Za-z0-9._-]", letter)), part)
        if part.endswith(".whl"):  # its name is its version (PEP 427), so it cannot be renamed
            mend = WHEEL_MENDS.get(odd, "pin another version, or do without it: a wheel cannot be renamed")
        else:
            mend = "rename it with letters, digits, '.', '_' and '-'"
        raise DatasetError(f"{name} has '{odd}' in its name, which Kaggle may reject or change", key=slug, mend=mend)
