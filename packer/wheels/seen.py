"""What a commit run saw, held against an image's facts: what changed, which wheels no longer run, the facts anew."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version
from pydantic import Field, ValidationError

from cascade.base import atomic
from cascade.base.errors import nearest
from cascade.config.messages import explained
from cascade.kaggle.checks import OLDEST_DRIVER
from cascade.kaggle.image import FILE
from packer.wheels import images
from packer.wheels.images import Date, Facts, Image, ImageError

__all__ = ["FILE", "Seen", "broken", "changed", "image_of", "read", "report", "update"]
KEYS = tuple(Facts.model_fields)
# A share by which sizes may differ: what is free on a disk is not the same in any two runs.
CLOSE = 0.05
SIZES = ("memory", "working", "scratch")
OF = r'^wheels_of\s*=\s*"{}"'


class Seen(Facts):
    """An image.json, as cascade.kaggle.image writes it. `image`: what the wheels were for; `at`: the day, UTC."""

    image: str = Field(min_length=1)
    competition: str
    at: Date


def read(path: Path, competition: str) -> Seen:
    """What a commit run saw; ImageError for a file that is no such record, or is another competition's."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        mend = "pass the image.json that a commit run left: make output"
        raise ImageError(f"cannot be read ({reason})", path=path, mend=mend) from error
    try:
        seen = Seen.model_validate(raw)
    except ValidationError as error:
        raise explained(error, path, {"": Seen}, {}, ImageError)[0] from error
    if seen.competition.lower() != competition.lower():
        raise ImageError(
            f"is of a run for {seen.competition}, not for {competition}", path=path,
            mend="pass one of this competition's own runs, whose limits and machines may be others",
        )  # fmt: skip
    return seen


def image_of(seen: Seen, path: Path, folder: Path = images.FOLDER) -> Image:
    """The target image that the run's wheels were for; ImageError where wheels/ has none of that name."""
    if not (folder / f"{seen.image}.toml").is_file():
        known = sorted(each.stem for each in folder.glob("*.toml"))
        mend = f"name the image that it is to be compared with: --image with one of {', '.join(known)}"
        raise ImageError(f"there is no image called '{seen.image}'{nearest(seen.image, known)}", path=path, mend=mend)
    return images.load(seen.image, folder)


def changed(image: Image, seen: Seen) -> dict[str, tuple[Any, Any]]:
    """The facts that were seen otherwise than the image has them: what it has, and what was seen.

    Not what this run could not see, nor a size that is close. Of `mounts` and `limits` only what was seen.
    """
    found = {}
    for key in KEYS:
        had, has = getattr(image, key), getattr(seen, key)
        if (
            key not in seen.model_fields_set
            or has in (None, {})
            or had == has
            or (key in SIZES and had and abs(has - had) <= CLOSE * had)
        ):
            continue
        if isinstance(has, dict):
            has = {**had, **has}
            if has == had:
                continue
        found[key] = (had, has)
    return found


def broken(image: Image, seen: Seen) -> Iterator[str]:
    """Why an image's wheels do not run on what was seen, a clause each; nothing where they do."""
    if (image.abi, image.machine) != (seen.abi, seen.machine):
        yield f"built for {image.abi} on {image.machine}, and it is {seen.abi} on {seen.machine}"
    if Version(seen.glibc) < Version(image.glibc):
        yield f"may require glibc {image.glibc}, and it is {seen.glibc}"
    oldest = OLDEST_DRIVER.get(int((image.cuda or "0").partition(".")[0]))
    if oldest and seen.driver and Version(seen.driver) < Version(oldest):
        yield f"CUDA {image.cuda} requires a driver of {oldest} or later, and it is {seen.driver}"
    if "gpus" in seen.model_fields_set and seen.gpus < image.gpus:
        yield f"for {image.gpus} GPUs, and there are {seen.gpus}"
    if image.gpus and seen.gpus and seen.capability != image.capability:
        yield f"proved for GPUs of capability {image.capability}, and theirs is {seen.capability}"


def report(image: Image, seen: Seen) -> list[str]:
    """Lines for a person: what changed, and of each set of wheels for that accelerator whether it still runs."""
    facts = changed(image, seen)
    if not facts:
        return [f"{image.path}: as the run saw it"]
    lines = [f"{image.path}: {key} was {_shown(had)}, and is {_shown(has)}" for key, (had, has) in facts.items()]
    for path in sorted(image.path.parent.glob("*.toml"), key=lambda path: path.stem):
        try:
            other = images.load(path.stem, path.parent)
        except ImageError as error:
            lines.append(f"{path}: not compared: {error}")
            continue
        same = other.name == image.name or (image.accelerator and other.accelerator == image.accelerator)
        if not same or not other.lock.is_file():
            continue
        why = "; ".join(broken(other, seen))
        lines.append(f"{other.wheels}: {f'broken: {why}' if why else 'its wheels still run there'}")
    return lines


def compared(path: Path, competition: str, folder: Path = images.FOLDER) -> list[str]:
    """What a run's output says of the image that its wheels were for, and how to take it over.

    Nothing where it has no image.json, as that of a run before there were any.
    """
    if not path.is_file():
        return []
    seen = read(path, competition)
    image = image_of(seen, path, folder)
    mend = [f"to update the facts: python -m packer image --from {path}"] if changed(image, seen) else []
    return [*report(image, seen), *mend]


def update(image: Image, seen: Seen) -> None:
    """Writes what was seen otherwise into the image's file, whose other lines stay.

    What a lock is resolved for goes into the files of all images that have these wheels, as they have one lock.
    """
    facts = {key: has for key, (_, has) in changed(image, seen).items()}
    if not facts:
        return
    locked = {key: value for key, value in facts.items() if key in ("python", *images.LOCKED_FOR)}
    owner = image.wheels_of or image.name
    if locked and owner != image.name:  # first, as the others are held to it
        _rewrite(image.path.with_stem(owner), locked, seen)
    _rewrite(image.path, facts, seen)
    if locked:
        for path in sorted(image.path.parent.glob("*.toml")):
            if path != image.path and re.search(OF.format(re.escape(owner)), path.read_text("utf-8"), re.MULTILINE):
                _rewrite(path, locked, seen)


def _rewrite(path: Path, facts: Mapping[str, Any], seen: Seen) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for key, value in facts.items():
        lines = _with(lines, key, f"{key} = {_toml(value)}  # a commit run, {seen.at}")
    before = re.sub(r"^\d{4}-\d\d-\d\d, by a commit run, where a line says so; ", "", tomllib.loads(text)["seen"])
    lines = _with(lines, "seen", f"seen = {_toml(f'{seen.at}, by a commit run, where a line says so; {before}')}")
    text = "\n".join(lines) + "\n"
    images.parse(text, path)  # an image.json may say what no image has
    atomic.write_text(path, text)


def _with(lines: list[str], key: str, line: str) -> list[str]:
    """The lines with one in the place of the key's own, or before `seen`: the last that every file has."""
    place = {match[1]: number for number, each in enumerate(lines) if (match := re.match(r"(\w+)\s*=", each))}
    at = place.get(key, place["seen"])
    return [*lines[:at], line, *lines[at + (key in place) :]]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in value.items()) or images.NOT_SEEN
    return images.NOT_SEEN if value is None else str(value)
