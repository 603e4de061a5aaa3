"""The classifier that a run trains: right probabilities, what it cannot know, texts of every length, its cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade.base.errors import ConfigError, StageError
from cascade.base.runtime import ROOT
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.parts import ClassifierPart
from cascade.config.schema import Config, Retrieval
from cascade.plan.profile import PROFILES, load
from cascade.plan.workload import Planner, Work
from cascade.rankings import metrics, tables
from cascade.retrievers import classifier
from cascade.retrievers.blend import Blend
from cascade.retrievers.classifier import Texts

LEARNERS = ("linear", "trees")
SAID = ["he added the tops", "she added the tops first", "two tops added", "it is the half", "one half", "a half is it"]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "TREES", 12)


def test_ridge_gives_the_shares_that_least_squares_give() -> None:
    """Alike texts of two labels, 3 to 1: with a likeness of 1 among all, only the mean can be told."""
    train = Texts(["same words"] * 4, [""] * 4)
    found = classifier.probabilities("linear", train, np.array([0, 2, 0, 0]), Texts(["same words"], [""]), 3)
    np.testing.assert_allclose(found, [[0.75, 0, 0.25]], atol=1e-6)


def test_vectors_count_as_one_of_the_likenesses() -> None:
    """Without a word in any text the three of TF-IDF are 0, so a text and its like have 1/4: solved by hand."""
    unit = np.eye(2, dtype=np.float32)
    train, asked = Texts(["", ""], ["", ""], unit), Texts([""], [""], unit[:1])
    found = classifier.probabilities("linear", train, np.array([0, 1]), asked, 2)
    gain = 0.25 / (0.25 + classifier.RIDGE) / 2
    np.testing.assert_allclose(found, [[0.5 + gain, 0.5 - gain]], atol=1e-6)


@pytest.mark.parametrize("learner", LEARNERS)
def test_probabilities_are_of_the_labels_that_train_has(learner: str) -> None:
    columns = np.array([1, 1, 1, 4, 4, 4])
    asked = Texts(["added tops", "a HALF!", "", "words of no text", "tops " * 4_000], [""] * 5)
    found = classifier.probabilities(learner, Texts(SAID, [""] * 6), columns, asked, 6)  # type: ignore[arg-type]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert not found[:, [0, 2, 3, 5]].any()
    assert found[0, 1] > found[0, 4]
    assert found[1, 4] > found[1, 1]
    assert found[4, 1] > found[4, 4]
    if learner == "linear":
        np.testing.assert_allclose(found[3], [0, 0.5, 0, 0, 0.5, 0], atol=0.2)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_group_learns_from_its_own_rows_and_a_strange_one_from_all(learner: str) -> None:
    """The same words mean label 1 in one group and label 0 in the other, where one label alone is certain."""
    train = Texts(["tops", "tops", "tops", "half"], ["a", "b", "b", "b"])
    columns = np.array([1, 0, 0, 2])
    asked = Texts(["tops", "tops", "tops", "half"], ["a", "b", "c", "a"])
    found = classifier.probabilities(learner, train, columns, asked, 3)  # type: ignore[arg-type]
    np.testing.assert_allclose(found[[0, 3]], [[0, 1, 0]] * 2, atol=1e-6)
    assert found[1].argmax() == 0
    assert found[2, 0] > found[2, 1] > 0


@pytest.mark.parametrize("learner", LEARNERS)
def test_texts_without_a_word_are_told_by_the_shares_of_train(learner: str) -> None:
    train = Texts(["", " ", "\n"], [""] * 3)
    found = classifier.probabilities(learner, train, np.array([0, 1, 1]), Texts(["", ""], ["", ""]), 2)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3]] * 2, atol=1e-6)


def test_numbers_and_doubled_letters_have_one_spelling() -> None:
    assert classifier.words("Three wasn’t THREE, 1/3 is NNot 12ab_é") == [
        "3", "was", "not", "3", ",", "1", "/", "3", "is", "not", "12", "ab", "_", "é",
    ]  # fmt: skip


def test_more_rows_than_one_classifier_takes_are_thinned_label_by_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "LARGEST", 6)
    train = Texts([f"word{number}" for number in range(12)], [""] * 12)
    found = classifier.probabilities("linear", train, np.array([0, 1, 1, 1] * 3), Texts(["other"], [""]), 2)
    np.testing.assert_allclose(found.sum(), 1, atol=1e-6)
    assert 0.05 < found[0, 0] < 0.45


def part_scores(part: ClassifierPart, config: Config, task: Task, cache: Path) -> np.ndarray:
    with Blend(Retrieval(name="r1", retriever=[part]), config, cache) as blend:
        return blend.part_scores(part, task.queries, task)


@pytest.mark.parametrize("learner", LEARNERS)
def test_it_is_kept_by_what_it_was_made_of_and_a_torn_file_is_made_anew(
    learner: str, config: Config, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = ClassifierPart(kind="classifier", learner=learner)  # type: ignore[arg-type]
    first = part_scores(part, config, task, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    np.testing.assert_array_equal(part_scores(part, config, task, tmp_path), first)
    assert path.read_bytes() == whole
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "probabilities", None)  # training again would fail
        np.testing.assert_array_equal(part_scores(part, config, task, tmp_path), first)
    train = task.train.assign(label_id=task.train["label_id"].to_numpy()[::-1])
    for other, changed in (
        (part.model_copy(update={"by": "subject"}), task),
        (part, replace(task, train=train)),
        (part, replace(task, train=task.train.head(50))),
    ):
        part_scores(other, config, changed, tmp_path)
    assert len([*tmp_path.iterdir()]) == 4


def test_a_train_without_rows_leaves_the_other_parts(config: Config, task: Task, tmp_path: Path) -> None:
    part = ClassifierPart(kind="classifier")
    empty = replace(task, train=task.train.head(0))
    assert not part_scores(part, config, empty, tmp_path).any()
    with (
        Blend(Retrieval(name="r1", retriever=[part]), config, tmp_path) as blend,
        pytest.raises(StageError, match="every score is 0"),
    ):
        blend.retrieve(task.queries, empty)


def test_it_tells_the_labels_that_train_has_and_no_other(config: Config, tmp_path: Path) -> None:
    """Of 40 of the sample's queries whose label train has: one of 343 by chance is first in .003."""
    task = EEDI.read(ROOT / "sample")
    assert task.truth is not None
    truth = task.truth[task.truth["label_id"].isin(task.seen)].head(40)
    queries = task.queries[task.queries["query_id"].isin(truth["query_id"])].reset_index(drop=True)
    scores = part_scores(ClassifierPart(kind="classifier"), config, replace(task, queries=queries), tmp_path)
    ids = task.labels["label_id"].to_numpy()
    assert not scores[:, ~np.isin(ids, [*task.seen])].any()
    ranking = tables.from_matrix(queries["query_id"].tolist(), ids, scores, 25)
    assert metrics.map_at(metrics.ranks_of_labels(ranking, truth), 25) > 0.4


def test_a_field_that_the_competition_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        '[[retrieval]]\nname = "r1"\nretriever = [{ kind = "classifier", by = "subjct" }]\n'
        "[ensemble]\nweights = { r1 = 1.0 }\n"
    )
    with pytest.raises(ConfigError, match=r"retrieval 'r1': by = 'subjct' is not a field of eedi.*subject"):
        registry.of(configs.load(path))
    path.write_text(
        '[[retrieval]]\nname = "r1"\nretriever = [{ kind = "tfidf" }]\n[[pipeline]]\nname = "p"\nkind = "pointwise"\n'
        'candidates = "r1"\nmodel = "m"\nprompt = "p.txt"\nnormalise = "rank"\nby = "constuct"\n'
        "[ensemble]\nweights = { r1 = 1.0 }\n"
    )
    with pytest.raises(ConfigError) as caught:
        registry.of(configs.load(path))
    assert (caught.value.path, caught.value.key) == (path, "pipeline 'p'")
    assert "did you mean 'construct'" in str(caught.value)


def test_a_plan_counts_the_rows_of_train_and_of_the_test(task: Task, config: Config) -> None:
    part = ClassifierPart(kind="classifier", learner="trees")
    config = config.model_copy(update={"retrieval": [Retrieval(name="r1", retriever=[part])], "pipeline": []})
    profile = load(PROFILES / "cpu.toml")
    stage = next(each for each in Planner(config, task, profile).stages(config, profile) if each.name == "retrieve-r1")
    assert Work("classifier", "trees", len(task.train) + len(task.queries)) in stage.works
    assert profile.find("classifier", "retrieve-r1", "trees", "vllm") is not None
