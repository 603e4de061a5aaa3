"""LoRA for an LLM reranker: the right label among hard negatives of the retrieval, asked as the run asks.

The prompts are those of the pipeline: its template, chat template, options and tokens, made by the same code. So are
the reasons that some of them have, which the config's reasoning stage writes beforehand. A query's prompts are one
sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from cascade.base.errors import ConfigError
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config.schema import Config, LLMPipeline, PointwisePipeline
from cascade.models import locate, prompters
from cascade.models.prompts import Prompter, query_fields
from cascade.processes.workers import DeviceSlot
from cascade.rankings import reasons
from cascade.rerankers import canaries
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Given
from cascade.rerankers.llm import LLMReranker
from cascade.scorers import one_pass, packing, writer
from cascade.scorers.packing import Block
from training import checkpoints, lora, negatives
from training.jobs import provenance
from training.teacher import Teacher

RANK = 8
CANDIDATES = 8  # that a pointwise query is asked about
BATCH = 4  # queries of a step
REASONS = 0.25  # of the queries have a reason: in a run the reasoning stage may be dropped, or cut short
WRITTEN = 16  # queries whose reasons are written together
# One card, or the CPU.
PLACE = DeviceSlot(("cuda:0" if lora.DEVICE == "cuda" else "cpu",))


@dataclass(frozen=True)
class Settings:
    """How it is trained. queries: on at most so many of train's; None: on all of them.

    taught: with a teacher, its part of the loss.
    """

    queries: int | None = None
    epochs: float = 1.0
    rate: float = 1e-3
    taught: float = 0.5


def train(
    folder: Path,
    config: Config,
    name: str,
    out: Path,
    settings: Settings,
    adapters: Path | None = None,
    *,
    kept: Path | None = None,
    replaces: bool = False,
    teacher: Sequence[Path] = (),
) -> None:
    """Trains on `folder`/train.csv and writes the adapter to `out`.

    If that is the config's own place for it, its canaries are written too. adapters: the retrieval's, in place of the
    config's. kept: a folder for checkpoints, from which the same training goes on. replaces: it may take another
    training's place in `out`.

    The loss is the cross-entropy of the right candidate: of the letters, or, pointwise, of a softmax over the
    log-odds of yes to no (MAP 2025, 1st place). teacher: ranking tables of a larger model, whose shares of a query's
    candidates are targets beside the right one.
    """
    lora.check_out(out)
    pipeline = pipeline_of(config, name)
    config = config.model_copy(update={"engine": "transformers"})
    given = lora.with_adapters(config, adapters)
    task = registry.of(config).read(folder)
    taught = Teacher(teacher, task.train["query_id"].tolist()) if teacher else None
    chosen_by = {**asdict(settings), "batch_size": BATCH, "rank": RANK}
    if taught:
        chosen_by["teacher"] = taught.digests
    else:
        del chosen_by["taught"]
    made = provenance.begin("reranker", pipeline, config, folder, chosen_by, negatives.provenance(given))
    made.check(out, replaces)
    count = min(settings.queries or len(task.train), len(task.train))
    chosen = task.train.sample(n=count, random_state=lora.SEED)
    candidates = negatives.retrieved(given, task)
    chosen = reasons.join(chosen, _written(chosen, given))
    model = _load(pipeline, config)
    examples = Examples(pipeline, config, task, candidates, taught, settings.taught)
    peft_model = lora.add_lora(model, RANK, targets="all-linear")
    with checkpoints.kept(kept, made.deciding, out) as kept:
        made.curve += fit(peft_model, model, examples, _order(chosen, settings.epochs), settings.rate, kept)
        lora.save(peft_model, out, pipeline.adapter_base or pipeline.model, made)
    if (config.path.parent / config.adapters / str(pipeline.adapter)).resolve() == out.resolve():
        _write_canaries(pipeline, config, task)


def _write_canaries(trained: LLMPipeline, config: Config, task: Task) -> None:
    """Those of all pipelines that have the adapter."""
    for pipeline in config.language_models().values():
        if isinstance(pipeline, LLMPipeline) and (pipeline.model, pipeline.adapter) == (trained.model, trained.adapter):
            held = pipeline.model_copy(update={"dtype": "float32"})
            reranker = LLMReranker(PLACE, held, config, task.texts)
            engine = f"transformers, float32, {pipeline.model}"
            queries = canaries.chosen(pipeline, task)
            print(canaries.write(pipeline, config, queries, reranker.prompter, reranker.answer, engine))


def pipeline_of(config: Config, name: str) -> LLMPipeline:
    """The pipeline to train; ConfigError where it is not an LLM's."""
    pipeline = config.pipeline_named(name)
    if not isinstance(pipeline, LLMPipeline):
        raise ConfigError(
            f"pipeline '{name}' is of kind '{pipeline.kind}'", path=config.path, mend="name one that asks an LLM"
        )
    return pipeline


class Examples:
    """Queries as a step reads them. taught: the teacher's part of the loss, of queries that it tells of."""

    def __init__(
        self,
        pipeline: LLMPipeline,
        config: Config,
        task: Task,
        candidates: dict[str, list[int]],
        teacher: Teacher | None = None,
        taught: float = 0.0,
    ) -> None:
        folder = locate.model_path(pipeline.model, config.path.parent)
        tokenizer = prompters.load_tokenizer(pipeline, folder)
        length = prompters.context_length(pipeline, folder)
        self.pipeline, self.names, self.candidates = pipeline, task.texts, candidates
        self.teacher, self.taught = teacher, taught
        self.seen = set(task.train["label_id"].tolist())
        self.prompter: Prompter = prompters.open_prompter(pipeline, config, tokenizer, length)
        self.prompter.check_tokenizer()
        self.options = self.prompter.option_ids(prompters.answers(pipeline))
        self.rng = np.random.default_rng(lora.SEED)
        self.pad = int(tokenizer.eos_token_id)

    def blocks(self, prompts: list[list[int]], packs: bool) -> list[Block]:
        """A query's prompts in one sequence, or each alone where the model cannot read them so."""
        if packs:
            return list(packing.blocks(prompts, sum(map(len, prompts))))
        return [Block([number], [], [prompt]) for number, prompt in enumerate(prompts)]

    def prompts(self, query: dict[Any, Any]) -> tuple[list[list[int]], np.ndarray]:
        """A query's prompts as token ids, and each candidate's target: new wrong ones each time, in any order.

        The targets add up to 1; without a teacher the right one has it all.
        """
        pipeline, right = self.pipeline, int(query["label_id"])
        count = min(CANDIDATES if isinstance(pipeline, PointwisePipeline) else len(self.options), pipeline.top_k)
        wrong = negatives.drawn(right, self.candidates[query["query_id"]], self.seen, count - 1, self.rng)
        ids = self.rng.permutation([right, *wrong]).tolist()
        asked = next(ask(pipeline, [Given(str(query["query_id"]), query_fields(query), ids)], self.names))
        targets = np.zeros(len(ids), dtype=np.float32)
        targets[ids.index(right)] = 1
        shares = self.teacher.shares(str(query["query_id"]), ids) if self.teacher else None
        if shares is not None:
            targets += self.taught * (shares - targets)
        return self.prompter.fit(asked[0].query_id, asked[0].variants)[0], targets

    def loss(self, model: Any, query: dict[Any, Any], packs: bool) -> torch.Tensor:
        """Of a query; `packs`: whether the model reads prompts with the same beginning as one sequence."""
        prompts, targets = self.prompts(query)
        logits = one_pass.logits(model, self.blocks(prompts, packs), self.pad)[:, self.options].float()
        among = logits[:, 0] - logits[:, 1] if isinstance(self.pipeline, PointwisePipeline) else logits[0]
        # Letters beyond a query's candidates have no target.
        wanted = torch.nn.functional.pad(torch.from_numpy(targets), (0, len(among) - len(targets)))
        return torch.nn.functional.cross_entropy(among[None], wanted[None].to(among.device))


def fit(
    peft_model: Any,
    model: Any,
    examples: Examples,
    order: list[dict[Any, Any]],
    rate: float,
    kept: Path | None = None,
) -> list[tuple[int, float, float]]:
    """Trains the adapter in place, BATCH queries a step; step, mean loss and rate of the first and each LOGGED-th.

    ScoreError where a loss or a gradient is no number. kept: the folder of a checkpoint, which is taken up if it is
    there.
    """
    trained = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
    steps = -(-len(order) // BATCH)
    optimizer = torch.optim.AdamW(trained, rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 10, steps)
    state = checkpoints.Loop(kept, peft_model, {"optimizer": optimizer, "schedule": schedule}, examples.rng)
    packs = one_pass.can_pack(model, examples.pad)
    peft_model.train()
    with tqdm(order[state.done :], unit="query", mininterval=5, initial=state.done, total=len(order)) as bar:
        for number, query in enumerate(bar, start=state.done + 1):
            step = -(-number // BATCH)
            loss = examples.loss(model, query, packs)
            checkpoints.check_finite(loss, f"step {step}, query {query['query_id']}")
            (loss / BATCH).backward()  # type: ignore[no-untyped-call]
            state.told(loss.item())
            bar.set_postfix_str(f"loss {state.mean:.3f}", refresh=False)
            if number % BATCH == 0 or number == len(order):
                norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
                checkpoints.check_finite(norm, f"step {step}, of which query {query['query_id']} is the last")
                optimizer.step()
                if step == 1 or step % lora.LOGGED == 0 or step == steps:
                    state.mark(step, float(schedule.get_last_lr()[0]))
                schedule.step()
                optimizer.zero_grad()
                if number % (BATCH * checkpoints.EVERY) == 0:
                    state.save(number)
    peft_model.eval()
    return state.curve


def _order(queries: pd.DataFrame, epochs: float) -> list[dict[Any, Any]]:
    """The rows of each epoch, each in an order of its own."""
    rng, rows = np.random.default_rng(lora.SEED), queries.to_dict("records")
    order: Iterator[int] = (int(place) for _ in range(int(np.ceil(epochs))) for place in rng.permutation(len(rows)))
    return [rows[place] for place in list(order)[: round(epochs * len(rows))]]


def _load(pipeline: LLMPipeline, config: Config) -> Any:
    """The base model; on a GPU in bfloat16, beside which peft keeps the adapter in float32."""
    return AutoModelForCausalLM.from_pretrained(
        locate.model_path(pipeline.model, config.path.parent),
        local_files_only=True,
        dtype=torch.bfloat16 if lora.DEVICE == "cuda" else torch.float32,
        trust_remote_code=pipeline.trust_remote_code,
        use_safetensors=True,
    ).to(lora.DEVICE)


def _written(queries: pd.DataFrame, config: Config) -> pd.DataFrame | None:
    """What the reasoning stage writes about some of them; None where the config has none."""
    if config.reason is None or not config.reason.enabled:
        return None
    write = writer.open_writer(PLACE, config.reason, config)
    count = round(REASONS * len(queries))
    parts = [queries.iloc[start : min(start + WRITTEN, count)] for start in range(0, count, WRITTEN)]
    written = [write((part,))[0] for part in tqdm(parts, desc="reasons", unit="batch")]
    return pd.concat(written, ignore_index=True) if written else None
