"""Whatever is imported is there: by cascade and the notebooks anywhere, by the wheels' modules unconditionally.

Requirements can be forgotten: a wheel may import what its METADATA never asks for. What a module imports that this
Python cannot parse is not proved.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from packer.proofs.source_imports import at_import, everywhere, standard_library
from packer.proofs.subject import Finding, Subject
from packer.proofs.wheel_modules import Modules

# What the kernel starts by name: stages run under papermill, whose kernels are ipykernel's.
ENTRIES = ("papermill.__main__", "papermill.engines", "nbclient", "ipykernel_launcher", "jupyter_client.provisioning")
# vLLM and transformers import these when they are asked for a name, by tables of strings.
LAZY = {
    "vllm": (
        "vllm.entrypoints.llm", "vllm.lora.request", "vllm.outputs", "vllm.sampling_params", "vllm.v1.engine.core",
        "vllm.v1.engine.llm_engine", "vllm.v1.executor.multiproc_executor", "vllm.v1.executor.uniproc_executor",
        "vllm.v1.worker.gpu_worker", "vllm.model_executor.models.registry",
    ),
    "transformers": ("transformers.modeling_utils", "transformers.models.auto.modeling_auto"),
}  # fmt: skip
# What comes with the extra `models` only: where an image is without it, no stage that imports them can be in a run, and
# what any run imports may not.
MODELS = ("faiss", "peft", "safetensors", "sentence_transformers", "tokenizers", "torch", "transformers")
OWN = "cascade"
STARTED = ("cascade.__main__", "cascade.run.conductor", "cascade.run.check")
LONGEST = 6  # links of a chain that are shown


def prove(bundle: Subject) -> list[Finding]:
    standard = standard_library(bundle.image.python)
    found: dict[str, list[str]] = {}
    unread: list[Finding] = []
    with Modules(bundle.wheels, bundle.memory) as modules:
        came: dict[str, str] = {}  # from which module, or file of the project, a module is first imported
        waiting: list[str] = []

        def meet(dotted: str, source: str) -> None:
            top = dotted.partition(".")[0]
            if top in modules.known:
                for name in modules.parents(dotted):
                    if name not in came:
                        came[name] = source
                        waiting.append(name)
                        for lazy in LAZY.get(name, ()):
                            meet(lazy, name)
            elif top not in standard and top != OWN:
                found.setdefault(top, []).append(_chain(source, came, top))

        for dotted, source in _roots(bundle):
            meet(dotted, source)
        while waiting:
            wave, waiting = waiting, []
            for name, imported in modules.imports(wave):
                if imported is None:
                    unread.append(_unread(bundle, modules.sources[name][0], _chain(came[name], came, name)))
                for dotted in imported or ():
                    meet(dotted, name)
    mend = f"add the package that has it to {bundle.image.requirements}, then: make wheels IMAGE={bundle.image.name}"
    missing = [
        Finding(top, f"module {top} is imported, but no wheel has it", mend, tuple(chains))
        for top, chains in sorted(found.items())
    ]
    return [*missing, *unread]


def _unread(bundle: Subject, package: str, chain: str) -> Finding:
    wants = f"Python {platform.python_version()}, which runs this, cannot parse {chain.rpartition(' ')[2]}"
    mend = (
        f"verify with the image's own Python {bundle.image.python_minor}; if it reports the same, pin another version"
    )
    return Finding(package, wants, mend, (chain,), "not proved")


def _chain(source: str, came: dict[str, str], module: str) -> str:
    links = [source, module]
    while links[0] in came:
        links.insert(0, came[links[0]])
    if len(links) > LONGEST:
        links = [*links[: LONGEST // 2], "…", *links[-LONGEST // 2 :]]
    return " → ".join(links)


def _roots(bundle: Subject) -> Iterator[tuple[str, str]]:
    """(dotted name, file of the project) of every import of the project's own, and of what it starts by name."""
    uses_vllm = any(config.engine == "vllm" and config.language_models() for config in bundle.configs)
    without_vllm = () if uses_vllm or "vllm" in bundle.pins else ("vllm",)
    of_models = () if bundle.image.has_models else MODELS
    always = _imported_by_any_run(bundle) if of_models else set()
    for path in sorted((bundle.project / OWN).rglob("*.py")):
        where = path.relative_to(bundle.project)
        package = path.name == "__init__.py"
        module = ".".join((where.parent if package else where.with_suffix("")).parts)
        for dotted in everywhere(path.read_text(encoding="utf-8"), module, package):
            top = dotted.partition(".")[0]
            if top not in without_vllm and (top not in of_models or (module, top) in always):
                yield dotted, where.as_posix()
    for path in sorted((bundle.project / "notebooks").glob("*.ipynb")):
        for dotted in everywhere(_code(path)):
            yield dotted, f"notebooks/{path.name}"
    if bundle.has_kernel:
        yield from ((entry, "the kernel") for entry in ENTRIES)


def _imported_by_any_run(bundle: Subject) -> set[tuple[str, str]]:
    """Pairs of a module of the project and a package, where the first imports the second before any stage's work."""
    notebooks = (everywhere(_code(path)) for path in (bundle.project / "notebooks").glob("*.ipynb"))
    waiting = {name for dotted in (*STARTED, *chain.from_iterable(notebooks)) for name in _parents(dotted)}
    known: set[str] = set()
    found: set[tuple[str, str]] = set()
    while waiting:
        module = waiting.pop()
        path = bundle.project.joinpath(*module.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in known or not source.is_file():
            continue
        known.add(module)
        imported = at_import(source.read_text(encoding="utf-8"), module, path.is_dir()) or []
        found |= {(module, dotted.partition(".")[0]) for dotted in imported}
        waiting |= {name for dotted in imported for name in _parents(dotted)}
    return found


def _parents(dotted: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c`."""
    words = dotted.split(".")
    yield from (".".join(words[:deep]) for deep in range(1, len(words) + 1))


def _code(path: Path) -> str:
    """The code of a notebook's cells, without IPython's own lines."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)
