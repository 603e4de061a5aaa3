"""What the kernel reads: the handles that a config names, and whether Kaggle has them ready for this login."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from cascade.base.errors import ModelError, nearest
from cascade.config import handles
from cascade.config.schema import Config
from packer.datasets import contents
from packer.kaggle import runs
from packer.kaggle.session import ABSENT, KaggleError, Session

FORMS = {
    "dataset_sources": (re.compile(rf"{handles.PART}/{handles.PART}"), "owner/slug"),
    "kernel_sources": (re.compile(rf"{handles.PART}/{handles.PART}"), "owner/slug"),
    "model_sources": (handles.FORMS["kaggle"], "owner/model/framework/variation/version"),
    "competition_sources": (re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*"), "the last part of the competition's address"),
}
NOTHING = "nothing of that name that this login may read"


def of(config: Config) -> dict[str, list[str]]:
    """`dataset_sources` and `model_sources` of the enabled parts, in Kaggle's forms; sorted, each once."""
    found: dict[str, set[str]] = {"dataset_sources": set(), "model_sources": set()}
    for _, part in config.models():
        scheme, _, name = part.model.partition(":")
        if scheme == "dataset":
            found["dataset_sources"].add("/".join(name.split("/")[:2]))
        elif scheme == "kaggle":
            found["model_sources"].add(name)
    return {key: sorted(names) for key, names in found.items()}


def problems(config: Config) -> list[str]:
    """What is wrong with the handles of the enabled parts, a sentence each."""
    found = []
    for model in dict.fromkeys(part.model for _, part in config.models()):
        scheme, _, name = model.partition(":")
        if scheme not in handles.SCHEMES:
            continue
        if contents.PLACEHOLDER in name.split("/"):
            found.append(f"{config.path}: model '{model}': put the owner's name at Kaggle for '{contents.PLACEHOLDER}'")
            continue
        try:
            handles.normal(model)
        except ModelError as error:
            found.append(f"{config.path}: {error}")
    return found


def normal(key: str, name: str) -> str:
    """A name of kernel-metadata.json's list `key` in the form that handles of a config have."""
    if key == "competition_sources":  # mounted as its address is written
        return name
    return handles.normal(f"kaggle:{name}").partition(":")[2] if key == "model_sources" else name.lower()


def unready(session: Session, metadata: dict[str, Any]) -> Iterator[str]:
    """A sentence for each source that is not there, not finished, or not open to this login."""
    looks: list[tuple[str, Callable[[Session, str], str]]] = [
        ("dataset_sources", _dataset),
        ("kernel_sources", _kernel),
        ("model_sources", _model),
        ("competition_sources", _competition),
    ]
    for key, look in looks:
        for name in metadata[key]:
            try:
                problem = look(session, name)
            except KaggleError as error:
                if error.status not in ABSENT:
                    raise
                ours = key == "dataset_sources" and name.partition("/")[0] == session.owner.lower()
                mend = (
                    "run: make push-datasets" if ours else "correct it, accept its licence or ask its owner to share it"
                )
                problem = f"{NOTHING}; {mend}"
            if problem:
                yield f"{key}: '{name}': {problem}"


def _dataset(session: Session, name: str) -> str:
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = name.split("/")
    call = session.client.datasets.dataset_api_client.get_dataset_status
    status = session.call(f"status of dataset {name}", lambda: call(request)).status.name
    if status == "READY":
        return ""
    if status in ("FAILED", "DELETED"):
        return f"is {status}; push it again: make push-datasets"
    return f"is not ready yet ({status}); wait for it: make push-datasets"


def _kernel(session: Session, name: str) -> str:
    return (
        ""
        if runs.newest(session, name)
        else f"{NOTHING}; correct it in kernel-metadata.json or ask its owner to share it"
    )


def _model(session: Session, name: str) -> str:
    """Asks for the files of that version: Kaggle's answer about a model tells only its newest."""
    from kagglesdk.models.types.model_api_service import ApiListModelInstanceVersionFilesRequest
    from kagglesdk.models.types.model_enums import ModelFramework

    owner, model, framework, variation, version = name.split("/")
    # The handle says pyTorch, the enum MODEL_FRAMEWORK_PY_TORCH.
    known = {
        each.name.removeprefix("MODEL_FRAMEWORK_").replace("_", "").lower(): each
        for each in ModelFramework
        if each.value
    }
    word = framework.replace("-", "").lower()
    if word not in known:
        return f"no framework is called '{framework}'{nearest(word, known)}; correct it in the config"
    request = ApiListModelInstanceVersionFilesRequest()
    request.owner_slug, request.model_slug, request.instance_slug = owner, model, variation
    request.framework, request.version_number = known[word], int(version)
    request.page_size = 1
    call = session.client.models.model_api_client.list_model_instance_version_files
    session.call(f"files of model {name}", lambda: call(request))
    return ""


def _competition(session: Session, name: str) -> str:
    from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

    request = ApiGetCompetitionRequest()
    request.competition_name = name
    call = session.client.competitions.competition_api_client.get_competition
    if session.call(f"competition {name}", lambda: call(request)).user_has_entered:
        return ""
    return f"not entered; accept its rules at kaggle.com/competitions/{name}/rules"
