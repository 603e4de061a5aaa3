"""Embeddings by sentence-transformers in the pool's processes, exact inner products by faiss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from cascade.base import clock
from cascade.config.parts import DensePart, EmbeddingModel
from cascade.config.schema import Config
from cascade.models import adapters, locate, placement, precision
from cascade.models.checks import encoders
from cascade.processes import workers
from cascade.rankings.tables import check_finite
from cascade.retrievers.cache import kept

BATCHES = 16  # of batch_size texts, to a task: enough to sort by length within, few enough to share out
Encode = Callable[[tuple[list[str], str]], np.ndarray]


def open_encoder(
    place: workers.DeviceSlot, part: EmbeddingModel, folder: Path, adapter: Path | None, dtype: str
) -> Encode:
    """The model on one device: (texts, prompt) -> unit vectors, float32 [n_texts, n_dimensions].

    An adapter is merged, except into 4-bit weights, where merging would round it away.
    """
    import torch

    kwargs: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if part.load_in_4bit:
        from transformers import BitsAndBytesConfig

        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kwargs["dtype"]
        )
        kwargs["device_map"] = {"": place.device}
    model = load(part, folder, place.device, kwargs)
    if adapter is not None and part.load_in_4bit:
        model.transformers_model.load_adapter(str(adapter))
    else:
        adapters.merge_adapter(model.transformers_model, adapter)
    model.eval()

    def encode(task: tuple[list[str], str]) -> np.ndarray:
        texts, prompt = task
        vectors = model.encode(
            texts,
            prompt=prompt or None,
            batch_size=part.batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        found: np.ndarray = np.asarray(vectors, dtype=np.float32)
        return found

    return encode


def load(part: EmbeddingModel, folder: Path, device: str, kwargs: dict[str, Any], **config: Any) -> Any:
    """The SentenceTransformer without its adapter; `kwargs` go to transformers' model, `config` to its config."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    modules: list[Any] | None = None
    trust = {"trust_remote_code": part.trust_remote_code}
    if part.pooling is not None:
        transformer = Transformer(str(folder), model_kwargs={**kwargs, **trust}, config_kwargs={**config, **trust})
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=part.pooling)]
    model: Any = SentenceTransformer(
        None if modules else str(folder),
        modules=modules,
        device=device,
        local_files_only=True,
        model_kwargs=kwargs,
        config_kwargs=config,
        **trust,
    )
    # The config's prompts alone: a model's default would stand before passages and queries alike.
    model.default_prompt_name, model.prompts = None, {}
    if part.max_length:
        model.max_seq_length = part.max_length
    return model


class Embedder:
    """One sentence-transformers model with its adapter, in a process per device from the first text on.

    `spent` has an entry for every time that texts were read: how many, seconds, seconds to load before, and losses.
    """

    def __init__(self, part: EmbeddingModel, config: Config, cache: Path) -> None:
        self.part = part
        self.cache = cache
        self.environment = config.environment
        self.slots = workers.device_slots(placement.device_list(config))
        self.folder = locate.model_path(part.model, config.path.parent)
        encoders.check_pooling(part, self.folder)
        self.adapter = adapters.adapter_path(part, config)
        self.precision = precision.of(part, self.slots[0].device)
        self.spent: list[dict[str, Any]] = []
        self._open = ExitStack()
        self._pool: workers.Pool | None = None

    @property
    def pool(self) -> workers.Pool:
        """The pool, started by the first text: a run whose embeddings are all cached loads nothing."""
        if self._pool is None:
            arguments = (self.part, self.folder, self.adapter, self.precision)
            logs = self.cache.parent / "logs"
            self._pool = self._open.enter_context(
                workers.Pool("embed", self.slots, logs, open_encoder, arguments, self.environment)
            )
        return self._pool

    def close(self) -> None:
        """Ends the model's processes and so frees its memory."""
        self._open.close()
        self._pool = None

    def encode(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        """Unit vectors, float32 [n_texts, n_dimensions]. Long texts first: what is left at the end is short."""
        start, is_loaded = clock.now(), self._pool is not None
        lost = len(self.pool.losses)
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))  # texts of one question repeat
        share = -(-len(distinct) // len(self.slots))
        size = max(1, min(share, BATCHES * self.part.batch_size))
        tasks = [(distinct[start : start + size], prompt) for start in range(0, len(distinct), size)]
        place = {text: number for number, text in enumerate(distinct)}
        vectors: np.ndarray | None = None
        with tqdm(total=len(distinct), unit="text", desc=self.part.model.rpartition("/")[2], mininterval=1.0) as bar:
            for done in self.pool.run(tasks):
                if done.error is not None:
                    raise done.error
                if vectors is None:
                    vectors = np.empty((len(distinct), done.value.shape[1]), dtype=np.float32)
                vectors[[place[text] for text in done.task[0]]] = done.value
                bar.update(len(done.value))
        assert vectors is not None
        load = 0.0 if is_loaded else self.pool.load_seconds
        seconds = clock.now() - start - load
        took = {"texts": len(distinct), "load": round(load, 3), "seconds": round(seconds, 3)}
        self.spent.append(took | ({"losses": self.pool.losses[lost:]} if self.pool.losses[lost:] else {}))
        check_finite(vectors, distinct)
        return vectors[[place[text] for text in texts]]

    def embed(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        """Encodes as `encode` does, and keeps the result on disk by the weights, the settings and the texts.

        The dense part and the neighbours ask for the same queries, and so may several retrievals.
        """
        key = hashlib.sha256(locate.fingerprint(self.folder, self.adapter).encode())
        key.update(
            repr(
                (prompt, self.part.max_length, self.precision, self.part.pooling, self.part.load_in_4bit, list(texts))
            ).encode()
        )
        path = self.cache / f"{key.hexdigest()}.npy"
        return kept(path, "embeddings", lambda: self.encode(texts, prompt))


def nearest(queries: np.ndarray, passages: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top_k` passages of highest inner product: scores and indices, both [n_queries, top_k]."""
    index: Any = faiss.IndexFlatIP(passages.shape[1])
    index.add(passages)
    scores, indices = index.search(queries, min(top_k, len(passages)))
    return scores, indices


def dense_vectors(
    embedder: Embedder, part: DensePart, texts: Sequence[str], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the query texts and of the label texts, whose products are cosine similarities."""
    passages = embedder.embed(names, part.passage_prompt)
    return embedder.embed(texts, part.query_prompt), passages
