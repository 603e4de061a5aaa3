"""The kernel as it is pushed: kernel-metadata.json filled in, checked against every rule known, beside its notebook.

The tracked file has no owner, no image and no sources: they come from the login, the image's facts and the config.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from cascade.base.errors import CascadeError, nearest
from cascade.competitions import registry
from cascade.competitions.base import Competition
from cascade.config.schema import Config
from packer.datasets import contents, notebooks, secrets
from packer.datasets.secrets import SecretError
from packer.kaggle import sources, state
from packer.wheels.images import Image

METADATA = Path("kernel-metadata.json")

NOTEBOOK = "submission.ipynb"
FIXED = {
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_internet": False,  # the competition's rule, and left out the client's code takes it for true
    "docker_image_pinning_type": "original",  # "latest" would change the image under what was proved
}
LISTS = tuple(sources.FORMS)
WRITTEN = ("id", "title", "code_file", *FIXED, *LISTS)
FILLED = ("enable_gpu", "machine_shape", "docker_image")  # from the image
TITLE = range(5, 51)  # characters
# kaggle-cli's docs/kernels.md, September 2026; NvidiaTeslaT4 is T4 x2.
ACCELERATORS = (
    "NvidiaTeslaT4", "NvidiaTeslaA100", "NvidiaL4", "NvidiaL4X1", "NvidiaH100", "NvidiaRtxPro6000", "TpuV5E8",
    "TpuV6E8",
)  # fmt: skip

# What Kaggle runs instead, without a word, by the lower-case name: the client's own list, which only warns.
RETIRED = {
    "nvidiateslap100": "NvidiaTeslaT4",
    "tpuv38": "TpuV5E8",
    "tpu1vmv38": "TpuV5E8",
    "tpuv232": "a CPU",
    "tpuv2256": "a CPU",
}


class KernelError(CascadeError):
    """A kernel that cannot be made or pushed; `problems` is all that is wrong, a sentence each."""

    def __init__(self, *problems: str, path: Path | None = None, key: str = "", mend: str = "") -> None:
        super().__init__("; ".join(problems), path=path, key=key, mend=mend)
        self.problems = problems if len(problems) > 1 else (str(self),)


def read(path: Path = METADATA) -> dict[str, Any]:
    """The tracked metadata as it stands; KernelError where it is no JSON table."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KernelError(f"cannot be read ({error})", path=path, mend="restore it") from error
    if not isinstance(found, dict):
        raise KernelError("is not a JSON object", path=path, mend="restore it")
    return found


def competition(path: Path = METADATA) -> str:
    """The slug of the competition that the kernel is for; KernelError where the metadata names none."""
    named = read(path).get("competition_sources")
    if not isinstance(named, list) or not named or not isinstance(named[0], str):
        raise KernelError("names no competition", path=path, key="competition_sources", mend="name it there")
    return named[0].lower()


def fill(metadata: dict[str, Any], config: Config, image: Image, owner: str, staged: list[str]) -> dict[str, Any]:
    """The metadata with owner, image and sources; `staged` are the slugs of our own datasets.

    Give it what `problems` finds nothing wrong with.
    """
    named = sources.of(config) | {"kernel_sources": [], "competition_sources": []}
    named["dataset_sources"] = [*(f"{owner.lower()}/{slug}" for slug in staged), *named["dataset_sources"]]
    own = {key: [sources.normal(key, name) for name in metadata[key]] for key in LISTS}
    filled = metadata | {key: list(dict.fromkeys([*named[key], *own[key]])) for key in LISTS}
    filled |= {
        "id": f"{owner}/{metadata['id'].rpartition('/')[2]}",
        "code_file": NOTEBOOK,
        "enable_gpu": image.gpus > 0,
    }
    if image.accelerator:
        filled["machine_shape"] = image.accelerator
    if image.docker_image:
        filled["docker_image"] = image.docker_image
    return filled


def problems(metadata: dict[str, Any], path: Path, config: Config, image: Image, owner: str) -> list[str]:
    """Every rule that the metadata, its notebook, the config's handles or the image's facts break, a sentence each."""
    found = [f"{path}: {problem}" for problem in (*_keys(metadata), *_name(metadata, owner), *_lists(metadata))]
    found += _notebook(path, metadata.get("code_file"))
    named, slug = metadata.get("competition_sources", []), registry.of(config).slug
    if not found and slug not in [name.lower() for name in named]:
        what = ", ".join(named) or "nothing"
        found.append(f'{path}: competition_sources: {what} is not the config\'s competition; write ["{slug}"]')
    return [*found, *_accelerator(image), *sources.problems(config)]


def _accelerator(image: Image) -> list[str]:
    name = image.accelerator
    if name is None or name in ACCELERATORS:
        return []
    if instead := RETIRED.get(name.lower()):
        fix = f'write "{instead}"' if instead in ACCELERATORS else "choose another image"
        return [f"{image.path}: accelerator: '{name}' is retired, and Kaggle would run {instead} instead; {fix}"]
    near = nearest(name, ACCELERATORS) or f" (it has {', '.join(ACCELERATORS)})"
    return [f"{image.path}: accelerator: Kaggle has no '{name}'{near}"]


def _keys(metadata: dict[str, Any]) -> list[str]:
    found = []
    for key in metadata:
        if key in FILLED:
            found.append(f"{key}: comes from the image's file under wheels/; leave it out here")
        elif key not in WRITTEN:
            found.append(f"unknown key '{key}'{nearest(key, WRITTEN)}; remove or correct it")
    for key in WRITTEN:
        if key not in metadata:
            found.append(f"{key}: is missing; write it")
    for key, value in FIXED.items():
        if key in metadata and (metadata[key] != value or type(metadata[key]) is not type(value)):
            found.append(f"{key}: is {json.dumps(metadata[key])}; write {json.dumps(value)}")
    return found


def _name(metadata: dict[str, Any], owner: str) -> list[str]:
    from slugify import slugify  # the client's own rule

    id_, title = metadata.get("id"), metadata.get("title")
    if not isinstance(id_, str) or not isinstance(title, str):
        return ["id and title: must be text; write them"]
    found = []
    before, _, slug = id_.rpartition("/")
    if before == contents.PLACEHOLDER:
        found.append(f"id: contains the placeholder '{before}'; leave the owner out, it comes from the login")
    elif before and before.lower() != owner.lower():
        found.append(f"id: belongs to '{before}' and the login to '{owner}'; leave the owner out")
    if len(title) not in TITLE:
        found.append(f"title: has {len(title)} characters; Kaggle requires {TITLE.start} to {TITLE.stop - 1}")
    if slugify(title) != slug:
        found.append(f"title: Kaggle makes '{slugify(title)}' of it, not the id's '{slug}'; make them agree")
    return found


def _lists(metadata: dict[str, Any]) -> list[str]:
    found = []
    for key, (form, words) in sources.FORMS.items():
        names = metadata.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            found.append(f'{key}: is not a list of names; write [] or ["…"]')
            continue
        for name in names:
            if contents.PLACEHOLDER in name.split("/"):
                found.append(f"{key}: '{name}' contains a placeholder; write the owner's name at Kaggle there")
            elif not form.fullmatch(name):
                found.append(f"{key}: '{name}' is not a valid name; write it as {words}")
    if metadata.get("competition_sources") == []:
        found.append("competition_sources: is empty; name the competition that is submitted to")
    return found


def _notebook(path: Path, code_file: Any) -> list[str]:
    """What is wrong with the notebook, and with those beside it, which travel with the code."""
    import nbformat

    if not isinstance(code_file, str) or not (path.parent / code_file).is_file():
        return [f"{path}: code_file: {code_file} does not exist; name the notebook"]
    notebook = path.parent / code_file
    found = notebooks.problems(notebook.parent)
    try:
        secrets.check({NOTEBOOK: notebook})
    except SecretError as error:
        found.append(str(error))
    if not found and not nbformat.read(notebook, as_version=4).metadata.get("kernelspec", {}).get("name"):
        found.append(f"{notebook}: names no kernel, so papermill rejects it at Kaggle; set metadata.kernelspec.name")
    return found


def write(
    metadata: dict[str, Any], notebook: Path, competition: Competition, config: str, folder: Path = state.FOLDER
) -> None:
    """Writes what is pushed: `metadata`, already filled, and the notebook without outputs.

    `config` is the config's place in the dataset with the code; `competition` has the cell for where nothing works.
    `kaggle kernels push -p folder` would push the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    state.write_whole(folder / METADATA.name, json.dumps(metadata, indent=2) + "\n")
    state.write_whole(folder / NOTEBOOK, _prepared(notebook, competition, config))


def _prepared(path: Path, competition: Competition, config: str) -> str:
    """The notebook as text; each cell's source is one string, as Kaggle's server expects it."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = _with_config(cell.source, config, path)
        if "fallback" in cell.metadata.get("tags", []):
            cell.source = competition.fallback.rstrip("\n")
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _with_config(source: str, config: str, path: Path) -> str:
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id="config"), annotation=kind):
                lines[statement.lineno - 1 : statement.end_lineno] = [
                    f"config: {ast.unparse(kind)} = {json.dumps(config)}"
                ]
                return "\n".join(lines)
    raise KernelError("its parameters have no 'config'", path=path, mend="restore it")
