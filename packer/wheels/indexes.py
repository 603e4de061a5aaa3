"""Where packages are looked for: the same places by uv, which locks them, and by pip, which fetches them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

from packer.wheels import requirements
from packer.wheels.images import Image
from packer.wheels.requirements import INDEXES

# pip's variables, and uv's of the same meaning. Of several places each is told all that either is told.
ONE = {"PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"), "PIP_NO_INDEX": ("UV_NO_INDEX",)}
SEVERAL = {"PIP_EXTRA_INDEX_URL": ("UV_EXTRA_INDEX_URL", "UV_INDEX"), "PIP_FIND_LINKS": ("UV_FIND_LINKS",)}


def pips() -> dict[str, str]:
    """The environment that pip runs in."""
    return {**os.environ, **_shared()}


def uvs(image: Image) -> dict[str, str]:
    """The environment that uv runs in; it does not read pip's settings, where a folder of wheels may stand."""
    found = {**os.environ, **_shared()}
    if any(line.startswith("--index-url") for line in options(image)):  # comes before the environment's, as with pip
        found = {name: value for name, value in found.items() if name not in ONE["PIP_INDEX_URL"]}
    if "UV_FIND_LINKS" not in found:
        command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
        told = subprocess.run(command, capture_output=True, text=True).stdout
        found["UV_FIND_LINKS"] = ",".join(told.split())
    # pip takes the best of all indexes; uv by itself would look into the first alone that knows a package, and an
    # index of one package often has old ones of what that requires.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **found}


def _shared() -> dict[str, str]:
    found = {}
    for pip, uv in ONE.items():
        told = next((os.environ[name] for name in (pip, *uv) if os.environ.get(name)), None)
        if told and not os.environ.get(pip):
            found[pip] = _address(told)
        if told and not any(os.environ.get(name) for name in uv):
            found[uv[0]] = told
    for pip, uv in SEVERAL.items():
        separator = "," if pip == "PIP_FIND_LINKS" else " "  # uv's; pip has a space for both
        places = [each for name in uv for each in re.split(rf"[{separator}\n]+", os.environ.get(name, "")) if each]
        every = list(dict.fromkeys([*os.environ.get(pip, "").split(), *map(_address, places)]))
        if every:
            found[pip] = " ".join(every)
            found[uv[0]] = separator.join(every)
    return found


def _address(place: str) -> str:
    """Returns the address without a name: uv lets an index have one, `name=https://…`."""
    before, equals, after = place.partition("=")
    return after if equals and "://" in after and "://" not in before else place


def options(image: Image) -> list[str]:
    """The places that the image's requirements name, as lines that pip reads; a folder by its whole path."""
    found = []
    for line in requirements.read(image.requirements):
        if line.option in INDEXES.values():
            value = line.value
            if line.option == "--find-links" and "://" not in value:
                value = shlex.quote(str((line.path.parent / value).resolve()))
            found.append(f"{line.option} {value}".strip())
    return found


def mend(image: Image) -> str:
    """What makes a package found that no index has."""
    return f"name where it is in {image.requirements}: --extra-index-url URL, or --find-links FOLDER"
