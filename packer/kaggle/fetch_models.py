"""What tells of a Kaggle model without its weights, config.json and tokenizer files, fetched by kagglehub."""

from __future__ import annotations

from cascade.base.errors import ModelError
from cascade.config import handles
from cascade.config.schema import Config
from cascade.models.locate import read_json
from packer.kaggle import login
from packer.kaggle.session import KaggleError
from packer.proofs.architectures import NEEDED, TOKENIZERS, has_tokenizer, models_of

FILES = (NEEDED, "tokenizer_config.json", *TOKENIZERS)


def fetch(configs: list[Config]) -> list[str]:
    """Brings those files of every Kaggle model and dataset in the configs, unless they are at hand; what was fetched.

    They go into kagglehub's cache, where cascade looks too. KaggleError names a model that cannot be had.
    """
    named = {model for config in configs for model, _ in models_of(config)}
    missing = sorted(model for model in named if model.partition(":")[0] in handles.SCHEMES and not _at_hand(model))
    with login.readable():
        for model in missing:
            for file in FILES:
                _fetch(model, file)
    return missing


def _at_hand(model: str) -> bool:
    try:
        folder = handles.find(model)
        return bool(read_json(folder / NEEDED, model)) and has_tokenizer(folder)
    except ModelError:  # or half of it, where a fetch was cut
        return False


def _fetch(model: str, file: str) -> None:
    import kagglehub
    from kagglehub.exceptions import CredentialError, DataCorruptionError, KaggleApiHTTPError, UnauthenticatedError
    from requests import RequestException

    scheme, _, name = model.partition(":")
    try:
        if scheme == "kaggle":
            kagglehub.model_download(name, path=file)
        else:
            owner, slug, *folder = name.split("/")
            kagglehub.dataset_download(f"{owner}/{slug}", path="/".join([*folder, file]))
    except (RequestException, ValueError, CredentialError, DataCorruptionError, UnauthenticatedError) as error:
        response = error.response if isinstance(error, KaggleApiHTTPError) else None
        status = response.status_code if response is not None else None
        if status == 404 and file != NEEDED:  # of the tokenizer files a model has one or two
            return
        said = " ".join(str(error).split())[:300]
        mend = "correct the handle, log in, or set MODELS to a folder that contains the model"
        raise KaggleError(f"{file} cannot be fetched ({said})", status, key=f"model '{model}'", mend=mend) from error
