"""The classic reranker: a transformer reads query and misconception together and gives one number."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from sentence_transformers import CrossEncoder

from cascade import data, models, tables
from cascade.config import Config, CrossEncoderPipeline
from cascade.data import Competition


class CrossEncoderReranker:
    """A `[[pipeline]]` of kind "cross-encoder": sentence-transformers' CrossEncoder with its optional adapter."""

    def __init__(self, pipeline: CrossEncoderPipeline, config: Config) -> None:
        self.pipeline = pipeline
        self.devices = models.device_list(config)
        self.model = CrossEncoder(
            str(models.model_path(pipeline.model, config.path.parent)),
            device=self.devices[0],
            local_files_only=True,
            num_labels=1,
            max_length=pipeline.max_length,
            model_kwargs={"dtype": models.dtype(self.devices[0])},
        )
        models.merge_adapter(self.model.model, models.adapter_path(pipeline, config))
        self.model.eval()

    def rerank(
        self, queries: pd.DataFrame, candidates: pd.DataFrame, competition: Competition
    ) -> Iterator[pd.DataFrame]:
        """Ranking chunks of whole queries, in the order of `candidates`; a score is a sigmoid in (0, 1)."""
        text = dict(zip(queries["query_id"], data.query_texts(queries), strict=True))
        names = competition.names
        candidates = tables.cut(candidates, self.pipeline.top_k)
        ids = candidates["query_id"].unique()
        for start in range(0, len(ids), self.pipeline.chunk):
            chunk = candidates[candidates["query_id"].isin(ids[start : start + self.pipeline.chunk])]
            pairs = [
                (text[query], names[id_])
                for query, id_ in zip(chunk["query_id"], chunk["misconception_id"], strict=True)
            ]
            scores = self.model.predict(
                pairs,
                batch_size=self.pipeline.batch_size,
                device=self.devices if len(self.devices) > 1 else None,
                show_progress_bar=False,
            )
            yield tables.from_scores(chunk.assign(score=scores))
