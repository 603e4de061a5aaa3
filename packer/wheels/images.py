"""Target images: one TOML file of facts each, beside its requirements and its hashed lock, under wheels/."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from pydantic import BeforeValidator, Field, ValidationError

from cascade.base.errors import CascadeError, nearest
from cascade.config.messages import explained
from cascade.config.parts import ConfigModel
from cascade.config.schema import Config

FOLDER = Path("wheels")
OLDEST_GLIBC = 5  # of manylinux tags: manylinux1 is glibc 2.5 (PEP 513)
# PEP 600: what the older names stand for, by glibc's minor version.
LEGACY_TAGS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
DateOrAny = Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\d|any)$")]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
Version = Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")]
Positive = Annotated[int, Field(gt=0)]
Size = Annotated[float, Field(gt=0)]
LOCKED_FOR = ("python_minor", "abi", "machine", "glibc")  # what a lock is resolved for
OF_SET = ("cuda", "extras", "exclude_newer", "newer")  # what is said of wheels, and not of a machine
MODELS = "models"  # the extra of this project that has torch
NOT_SEEN = "not seen"  # what a file says of a fact that nobody has seen yet


class ImageError(CascadeError):
    """An image's files that cannot be used; names the file and the mend."""


def _seen(value: Any) -> Any:
    """A fact that a file says was not seen is one that it leaves out."""
    return None if value == NOT_SEEN else value


class Facts(ConfigModel):
    """What can be seen of a machine; versions are text, None is what was not seen. GB are 10^9 bytes, MiB 2^20.

    `driver`, `card` and `capability` are None on an image without a GPU. `working` is what is free in the folder that
    Kaggle keeps, `scratch` where the environment is made. `docker_image` pins the kernel's image; None pins the one
    that the kernel was first made with.
    """

    python: Annotated[str, Field(pattern=r"^3\.\d+\.\d+$")]
    abi: Annotated[str, Field(pattern=r"^cp3\d+$")]
    machine: str
    glibc: Annotated[str, Field(pattern=r"^2\.\d+$")]
    gpus: int = Field(default=0, ge=0)
    card: Annotated[str | None, BeforeValidator(_seen)] = Field(default=None, description="as nvidia-smi names it")
    capability: Annotated[str, Field(pattern=r"^\d+\.\d$")] | None = None
    gpu_memory: Annotated[Positive | None, BeforeValidator(_seen)] = Field(default=None, description="MiB of each GPU")
    driver: Annotated[Version | None, BeforeValidator(_seen)] = None
    docker_image: Annotated[str | None, BeforeValidator(_seen)] = None
    cores: Annotated[Positive | None, BeforeValidator(_seen)] = None
    memory: Annotated[Size | None, BeforeValidator(_seen)] = Field(default=None, description="GB of the machine")
    working: Annotated[Size | None, BeforeValidator(_seen)] = Field(default=None, description="GB free")
    scratch: Annotated[Size | None, BeforeValidator(_seen)] = Field(default=None, description="GB free")
    mounts: dict[str, str] = Field(default={}, description="type of each place's file system, and rw or ro")
    limits: dict[str, str] = Field(default={}, description="of a session and its processes")

    @property
    def compute_capability(self) -> tuple[int, ...]:
        """Returns the compute capability in numbers; () without a GPU."""
        return tuple(map(int, self.capability.split("."))) if self.capability else ()


class Image(Facts):
    """A machine that wheels are for, and what they are; `name` and `path` are not in the file.

    `wheels_of`: another image, whose requirements, lock and wheels this one has too; it is of the same Python and glibc
    and differs in its cards.
    """

    name: str
    path: Path = Field(exclude=True)
    wheels_of: str | None = Field(default=None, exclude=True)
    cuda: Annotated[str, Field(pattern=r"^\d+\.\d+$")] | None = None
    accelerator: str | None = None
    extras: list[str] = Field(description="of this project, whose requirements the kernel needs")
    exclude_newer: Date | None = Field(default=None, description="only releases before this day")
    newer: dict[str, DateOrAny] = Field(
        default={}, description="packages whose day is another; any: each release, where an index tells no days"
    )
    seen: str = Field(description="when and where these facts were seen")

    @property
    def project(self) -> Path:
        """The pyproject.toml above the images' folder, whose requirements the kernel needs."""
        return self.path.parent.parent / "pyproject.toml"

    @property
    def has_models(self) -> bool:
        """Whether its wheels are to have torch and what else a model requires."""
        return MODELS in self.extras

    @property
    def _set(self) -> Path:
        return self.path.with_stem(self.wheels_of or self.name)

    @property
    def requirements(self) -> Path:
        """What the kernel needs beside the project's own requirements."""
        return self._set.with_suffix(".in")

    @property
    def lock(self) -> Path:
        return self._set.with_suffix(".lock")

    @property
    def wheels(self) -> Path:
        """The folder of the downloaded wheels."""
        return self._set.with_suffix("")

    @property
    def python_minor(self) -> str:
        return self.python.rpartition(".")[0]

    @property
    def uv_platform(self) -> str:
        """uv's name of the platform."""
        return f"{self.machine}-manylinux_{self.glibc.replace('.', '_')}"

    @property
    def platforms(self) -> list[str]:
        """Platform tags that a wheel may have, the newest glibc first."""
        found = []
        for minor in range(int(self.glibc.partition(".")[2]), OLDEST_GLIBC - 1, -1):
            found.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in LEGACY_TAGS:
                found.append(f"{LEGACY_TAGS[minor]}_{self.machine}")
        return [*found, f"linux_{self.machine}"]

    def tags(self) -> list[Tag]:
        """Lists all wheel tags that the image accepts, the best first (PEP 425)."""
        version = tuple(map(int, self.python_minor.split(".")))
        return [
            *cpython_tags(version, [self.abi], self.platforms),
            *compatible_tags(version, self.abi, self.platforms),
        ]

    def markers(self) -> dict[str, str]:
        """The environment that requirements' markers are read in (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.python_minor,
            "sys_platform": "linux",
        }


def load(name: str, folder: Path = FOLDER) -> Image:
    """The image whose facts are `folder`/`name`.toml; ImageError names the file and the mend."""
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = sorted(each.stem for each in folder.glob("*.toml"))
        mend = f"use one of {', '.join(known)}" if known else "create it"
        raise ImageError(f"no such image{nearest(name, known)}", path=path, mend=mend)
    return parse(path.read_text(encoding="utf-8"), path)


def require_models(image: Image, config: Config) -> None:
    """ImageError where a stage of the run has a model, and the image's wheels are not to have torch."""
    for stage, model in config.models():
        if not image.has_models:
            raise ImageError(
                f"its wheels have no torch, which '{model.model}' of stage '{stage}' requires", path=image.path,
                key="extras", mend="use an image with torch, such as IMAGE=kaggle-t4x2, or CONFIG=configs/cpu.toml",
            )  # fmt: skip


def parse(text: str, path: Path) -> Image:
    """The image of which `text` is the file at `path`; ImageError as `load`."""
    try:
        raw = tomllib.loads(text)
        own = Image.model_validate({**raw, **_of_set(raw, path), "name": path.stem, "path": path})
    except tomllib.TOMLDecodeError as error:
        raise ImageError(f"not TOML: {error}", path=path, mend="correct the file") from error
    except ValidationError as error:
        raise explained(error, path, {"": Image}, {}, ImageError)[0] from error
    if own.wheels_of is not None:
        other = load(own.wheels_of, path.parent)
        differs = [key for key in LOCKED_FOR if getattr(own, key) != getattr(other, key)]
        if differs:
            raise ImageError(
                f"has {differs[0]} {getattr(own, differs[0])}, and the wheels of {other.name} are for "
                f"{getattr(other, differs[0])}", path=path, key="wheels_of",
                mend="remove it, and give this image requirements of its own",
            )  # fmt: skip
    return own


def _of_set(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the image that `wheels_of` names says of its wheels; ImageError where this file says it too."""
    name = raw.get("wheels_of")
    if not isinstance(name, str):
        return {}
    file = path.with_name(f"{name}.toml")
    if file.is_file() and re.search(r"^wheels_of\b", file.read_text(encoding="utf-8"), re.MULTILINE):
        mend = "name the image that has the requirements"
        raise ImageError(f"{name} has another image's wheels itself", path=path, key="wheels_of", mend=mend)
    twice = [key for key in OF_SET if key in raw]
    if twice:
        raise ImageError(f"{twice[0]} is said by {file}", path=path, key="wheels_of", mend=f"remove {twice[0]}")
    other = load(name, path.parent)
    return {key: getattr(other, key) for key in OF_SET}
