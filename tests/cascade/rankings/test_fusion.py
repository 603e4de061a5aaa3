"""Rank fusion against exact fractions, the unseen boost, and the factor that reaches a wanted share."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from cascade.rankings import fusion, tables


def ranking(**queries: list[int]) -> pd.DataFrame:
    rows = [(query, id_, 1.0 / rank, rank) for query, ids in queries.items() for rank, id_ in enumerate(ids, start=1)]
    table = pd.DataFrame(rows, columns=tables.COLUMNS)
    return table.astype({"label_id": np.int32, "score": np.float32, "rank": np.int32})


def lists(fused: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    made: dict[str, list[tuple[int, float]]] = {}
    for query, id_, score in fused.itertuples(index=False):
        made.setdefault(query, []).append((id_, score))
    return made


def order(fused: pd.DataFrame, query: str) -> list[int]:
    return [id_ for id_, _ in lists(fused)[query]]


def random_rankings(seed: int) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    rankings = {}
    for name in "xyz"[: int(rng.integers(1, 4))]:
        queries = {f"{q}_A": rng.permutation(20)[: rng.integers(1, 16)].tolist() for q in rng.permutation(8)}
        for lacking in rng.permutation(list(queries))[: rng.integers(0, 4)]:
            del queries[lacking]
        rankings[name] = ranking(**queries)
    return rankings


def reference(rankings: dict[str, pd.DataFrame], weights: dict[str, float]) -> dict[str, list[tuple[int, float]]]:
    """Dictionaries and exact fractions: ties are ties, whatever floats make of them."""
    place: dict[str, dict[int, dict[str, int]]] = {}
    for name, table in rankings.items():
        for query, id_, rank in zip(table["query_id"], table["label_id"], table["rank"], strict=True):
            place.setdefault(query, {}).setdefault(id_, {})[name] = rank
    fused = {}
    for query, found in place.items():
        score = {
            id_: sum((Fraction(str(weights[name])) / rank for name, rank in ranks.items()), Fraction(0))
            for id_, ranks in found.items()
        }
        keys = {id_: (-score[id_], *(ranks.get(name, 10**9) for name in rankings)) for id_, ranks in found.items()}
        fused[query] = [(id_, float(score[id_])) for id_ in sorted(found, key=lambda id_: (keys[id_], id_))]
    return fused


def test_fuse_worked_by_hand() -> None:
    fused = fusion.fuse(
        {"p1": ranking(q=[10, 20, 30], only=[5]), "p2": ranking(q=[30, 10, 40], other=[6])}, {"p1": 2.0, "p2": 1.0}
    )
    assert lists(fused) == {
        "q": [(10, 2.5), (30, pytest.approx(2 / 3 + 1)), (20, 1.0), (40, pytest.approx(1 / 3))],
        "only": [(5, 2.0)],
        "other": [(6, 1.0)],
    }


@pytest.mark.parametrize(
    ("first", "second", "third", "expected"),
    [
        # 1 and 2 swap places: equal sums, the first ranking decides, whatever the ids.
        ([2, 1], [1, 2], [], [2, 1]),
        ([1, 2], [2, 1], [], [1, 2]),
        # 8 is absent from the first ranking, 9 from the second: absent is last.
        ([9], [8], [], [9, 8]),
        # Both are absent from the first: the second decides.
        ([7], [9, 8], [8, 9], [9, 8, 7]),
        ([7], [], [9, 8], [7, 9, 8]),
    ],
)
def test_ties_go_by_rank_in_the_first_ranking_then_the_next(
    first: list[int], second: list[int], third: list[int], expected: list[int]
) -> None:
    tabled = {"a": ranking(q=first), "b": ranking(q=second), "c": ranking(q=third)}
    rankings = {name: table for name, table in tabled.items() if len(table)}
    fused = fusion.fuse(rankings, dict.fromkeys(rankings, 1.0))
    assert order(fused, "q") == expected


def test_last_of_all_ties_go_by_id() -> None:
    # Tables give each candidate its own rank, so only rows of equal rank in every ranking get so far.
    twins = ranking(q=[4, 3]).assign(rank=1)
    assert order(fusion.fuse({"a": twins}, {"a": 1.0}), "q") == [3, 4]


def test_sums_that_floats_tell_apart_are_ties() -> None:
    assert 1 / 10 + 1 / 15 != 1 / 6
    # 6 stands sixth in `a` alone; 99 stands tenth in `a` and fifteenth in `b`.
    a = [1, 2, 3, 4, 5, 6, 7, 8, 9, 99]
    b = [*range(11, 25), 99]
    fused = lists(fusion.fuse({"a": ranking(q=a), "b": ranking(q=b)}, {"a": 1.0, "b": 1.0}))["q"]
    scores = dict(fused)
    ids = [id_ for id_, _ in fused]
    assert scores[6] == scores[99]
    assert ids.index(6) < ids.index(99)


@pytest.mark.parametrize("names", [("score", "rank"), ("b", "a")])
def test_names_of_the_rankings_do_not_matter(names: tuple[str, str]) -> None:
    # 1 and 2 have equal sums, so that the first ranking must decide.
    rankings = dict(zip(names, (ranking(q=[2, 1, 3]), ranking(q=[1, 2, 4])), strict=True))
    assert order(fusion.fuse(rankings, dict.fromkeys(names, 1.0)), "q") == [2, 1, 3, 4]


@pytest.mark.parametrize("seed", range(25))
def test_fuse_equals_the_slow_reference(seed: int) -> None:
    rankings = random_rankings(seed)
    rng = np.random.default_rng(seed)
    weights = {name: float(rng.choice([1.0, 2.0, 0.5, 0.3])) for name in rankings}
    fused, expected = lists(fusion.fuse(rankings, weights)), reference(rankings, weights)
    assert list(fused) == list(expected)
    for query, rows in expected.items():
        assert [id_ for id_, _ in fused[query]] == [id_ for id_, _ in rows]
        assert [score for _, score in fused[query]] == pytest.approx([score for _, score in rows])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.2, 1.37])
def test_boosted_fusion_keeps_the_tables_contract(seed: int, factor: float) -> None:
    rankings = random_rankings(seed)
    fused = fusion.boost_unseen(fusion.fuse(rankings, dict.fromkeys(rankings, 0.7)), set(range(9)), factor)
    table = tables.validate(fusion.to_table(fused), "fused")
    assert table["label_id"].tolist() == fused["label_id"].tolist()
    assert str(table["rank"].dtype) == "int32"


def fused_list(*rows: tuple[str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["query_id", "label_id", "score"])


def test_boost_multiplies_the_unseen_and_sorts_anew() -> None:
    fused = fused_list(("q", 1, 1.0), ("q", 2, 0.9), ("q", 3, 0.6), ("p", 2, 0.5), ("p", 1, 0.5))
    boosted = fusion.boost_unseen(fused, {1}, 1.5)
    assert lists(boosted) == {
        "q": [(2, pytest.approx(1.35)), (1, 1.0), (3, pytest.approx(0.9))],
        "p": [(2, 0.75), (1, 0.5)],
    }


def test_boost_keeps_the_order_of_equal_scores() -> None:
    fused = fused_list(("q", 9, 1.0), ("q", 1, 1.0), ("q", 5, 1.0), ("q", 7, 0.5), ("q", 4, 0.5))
    assert order(fusion.boost_unseen(fused, {1, 5, 9}, 2.0), "q") == [9, 1, 5, 7, 4]


@pytest.mark.parametrize("seen", [set(), {1, 2, 3, 5, 9}])
def test_boost_by_one_and_of_one_kind_only_changes_no_order(seen: set[int]) -> None:
    fused = fused_list(("q", 9, 1.0), ("q", 1, 0.5), ("p", 3, 1.0), ("p", 2, 1.0))
    pd.testing.assert_frame_equal(fusion.boost_unseen(fused, seen, 1.0), fused)
    boosted = fusion.boost_unseen(fused, seen, 3.0)
    assert boosted["label_id"].tolist() == fused["label_id"].tolist()


def first_unseen(fused: pd.DataFrame, seen: set[int], factor: float) -> int:
    """How many queries have an unseen misconception in the first place after the boost."""
    boosted = fusion.boost_unseen(fused, seen, factor)
    first = boosted.drop_duplicates("query_id")
    return int((~first["label_id"].isin(seen)).sum())


@pytest.mark.parametrize("share", [0.0, 0.07, 0.28, 0.5, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_factor_reaches_the_share_and_is_the_smallest(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    queries = {f"{q}_A": rng.permutation(30)[: rng.integers(1, 12)].tolist() for q in range(n)}
    others = {query: rng.permutation(30)[: rng.integers(1, 12)].tolist() for query in queries}
    fused = fusion.fuse({"a": ranking(**queries), "b": ranking(**others)}, {"a": 2.0, "b": 1.0})
    seen = set(range(22))
    can_turn = fused[~fused["label_id"].isin(seen)]["query_id"].nunique()
    wanted = -(-Fraction(str(share)) * n // 1)  # exactly rounded up
    factor = fusion.factor_for_share(fused, seen, share)
    assert factor >= 1.0
    assert first_unseen(fused, seen, factor) >= min(wanted, can_turn)
    if factor > 1.0:
        assert first_unseen(fused, seen, factor * 0.99) < min(wanted, can_turn)


@pytest.mark.parametrize(("n", "percent"), [(100, 7), (25, 28), (50, 14), (5, 60), (3, 100)])
def test_share_that_floats_overshoot_asks_for_no_further_query(n: int, percent: int) -> None:
    # Query i turns at factor i + 2.
    rows = [(f"{i}_A", id_, score) for i in range(n) for id_, score in ((0, 1.0), (1, 1.0 / (i + 2)))]
    factor = fusion.factor_for_share(fused_list(*rows), {0}, percent / 100)
    assert factor == pytest.approx(n * percent / 100 + 1)
    assert first_unseen(fused_list(*rows), {0}, factor) == n * percent // 100


def test_share_already_there_needs_no_boost() -> None:
    fused = fused_list(("a", 1, 1.0), ("a", 2, 0.5), ("b", 2, 1.0), ("b", 1, 0.5))
    assert fusion.factor_for_share(fused, {2}, 0.5) == 1.0
    assert fusion.factor_for_share(fused, {2}, 0.51) == pytest.approx(2.0)


def test_a_query_without_a_seen_candidate_is_unseen_already() -> None:
    fused = fused_list(("a", 2, 1.0), ("b", 1, 1.0), ("b", 2, 0.25))
    assert fusion.factor_for_share(fused, {1}, 0.5) == 1.0
    assert fusion.factor_for_share(fused, {1}, 0.51) == pytest.approx(4.0)


def test_queries_of_one_kind_never_turn() -> None:
    only_seen = fused_list(("a", 1, 1.0), ("b", 2, 1.0), ("b", 1, 0.5))
    assert fusion.factor_for_share(only_seen, {1, 2}, 1.0) == 1.0
    assert fusion.factor_for_share(only_seen, set(), 1.0) == 1.0
    mixed = fused_list(("a", 1, 1.0), ("b", 1, 1.0), ("b", 3, 0.25), ("c", 3, 1.0))
    factor = fusion.factor_for_share(mixed, {1}, 1.0)  # a has nothing to turn to
    assert factor == pytest.approx(4.0)
    assert first_unseen(mixed, {1}, factor) == 2


def test_equal_best_scores_still_turn() -> None:
    fused = fused_list(("a", 1, 0.3), ("a", 2, 0.3))
    factor = fusion.factor_for_share(fused, {1}, 1.0)
    assert factor == pytest.approx(1.0)
    assert first_unseen(fused, {1}, factor) == 1


def test_factor_for_nothing_is_one() -> None:
    empty = fused_list(("a", 1, 1.0)).iloc[:0]
    assert fusion.factor_for_share(empty, {1}, 0.6) == 1.0
    assert fusion.boost_unseen(empty, {1}, 2.0).empty


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (([1, 2, 3], [4]), [1, 2, 3]),
        (([1], [2, 1, 3], [4]), [1, 2, 3]),
        (([1, 1], [1], [2]), [1, 2]),
        (([], [5, 4, 3, 2]), [5, 4, 3]),
        (([],), []),
    ],
)
def test_fill_takes_the_first_distinct_ids(given: tuple[list[int], ...], expected: list[int]) -> None:
    assert fusion.fill(*given, length=3) == expected
