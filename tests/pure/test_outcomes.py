"""Claims about a run's mean over languages: the mean of their means, and as uncertain as their items make it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sweep import crossed
from sweep.comparisons import comparisons
from sweep.outcomes import Answers, aligned, paired
from sweep.per_language import per_group, per_language
from tests.pure import fake_sweep as fake

SIZES = {"de": 40, "en": 200, "th": 900}
SEEDS = (1, 2, 3)


def _answers(ids: dict[str, list[str]], right: dict[int, dict[str, np.ndarray]]) -> Answers:
    """Answers of one cell whose evaluation of a seed is called by its number; `right` by seed and language."""

    def predictions(digest: str) -> pa.Table:
        parts = [
            pa.table(
                {
                    "task": [fake.TARGET.name] * len(ids[language]),
                    "language": [language] * len(ids[language]),
                    "item_id": ids[language],
                    "gold": ["a"] * len(ids[language]),
                    "predicted": np.where(correct, "a", "b"),
                }
            )
            for language, correct in right[int(digest)].items()
        ]
        return pa.concat_tables(parts)

    return Answers(fake.standing([]), lambda _: (), predictions)


def _drawn(sizes: dict[str, int], seed: int = 0) -> dict[int, dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    rates = {"de": 0.3, "en": 0.9, "th": 0.6}
    return {run: {code: random.random(size) < rates[code] for code, size in sizes.items()} for run in SEEDS}


def _own_ids(sizes: dict[str, int]) -> dict[str, list[str]]:
    return {code: [f"{code}-{row:04d}" for row in range(size)] for code, size in sizes.items()}


def _matrix(answers: Answers) -> np.ndarray:
    found = aligned([answers.outcome(str(seed), tuple(SIZES)) for seed in SEEDS])
    assert found is not None
    return found[1]


def test_languages_of_unequal_size_that_share_no_item_weigh_the_same():
    right = _drawn(SIZES)
    matrix = _matrix(_answers(_own_ids(SIZES), right))
    expected = [np.mean([right[seed][code].mean() for code in SIZES]) for seed in SEEDS]
    assert matrix.mean(axis=1) == pytest.approx(expected)
    assert matrix.shape == (3, sum(SIZES.values()))


def test_the_variance_of_their_items_is_the_sum_of_each_ones_over_the_square_of_their_number():
    right = _drawn(SIZES)
    whole = crossed.layouts(_matrix(_answers(_own_ids(SIZES), right)))
    each = [crossed.layouts([right[seed][code] for seed in SEEDS]) for code in SIZES]
    assert float(whole.item_part) == pytest.approx(sum(float(one.item_part) for one in each) / len(SIZES) ** 2)
    one = crossed.layouts(_matrix(_answers(_own_ids(SIZES), right))[:1])
    alone = sum(right[1][code].var(ddof=1) / size for code, size in SIZES.items()) / len(SIZES) ** 2
    assert float(one.variance) == pytest.approx(alone)


def test_languages_that_hold_the_same_items_are_averaged_item_by_item_to_the_last_bit():
    sizes = dict.fromkeys(SIZES, 50)
    right = _drawn(sizes)
    matrix = _matrix(_answers({code: [f"{row:03d}" for row in range(50)] for code in sizes}, right))
    assert (matrix == [np.stack(list(right[seed].values())).mean(axis=0) for seed in SEEDS]).all()


def test_an_item_that_two_languages_share_counts_once():
    sizes = dict.fromkeys(SIZES, 400)
    names = [f"{row:04d}" for row in range(600)]
    ids = {"de": names[:400], "en": names[200:], "th": names[:200] + names[400:]}
    hard = dict(zip(names, np.random.default_rng(1).random(600) < 0.5, strict=True))
    same = {seed: {code: np.array([hard[name] for name in ids[code]]) for code in sizes} for seed in SEEDS}
    shared = crossed.layouts(_matrix(_answers(ids, same))).item_part
    apart = crossed.layouts(_matrix(_answers(_own_ids(sizes), same))).item_part
    assert float(shared) == pytest.approx(0.25 / 600, rel=0.05)  # 600 items, each asked twice with one result
    assert float(apart) == pytest.approx(0.25 / 1200, rel=0.05)


def test_runs_that_hold_different_items_are_compared_on_what_both_hold_language_by_language():
    ids = _own_ids(SIZES)
    fewer = {**ids, "th": ids["th"][:300]}
    right = _drawn(SIZES)
    cut = {seed: {**right[seed], "th": ~right[seed]["th"][:300]} for seed in SEEDS}
    mine, theirs = (
        {seed: answers.outcome(str(seed), tuple(SIZES)) for seed in SEEDS}
        for answers in (_answers(ids, right), _answers(fewer, cut))
    )
    both = paired(mine, theirs)
    assert both is not None
    gains = [(2 * right[seed]["th"][:300].mean() - 1) / 3 for seed in SEEDS]
    assert (both[0] - both[1]).mean(axis=1) == pytest.approx(gains)


def test_every_table_of_means_has_the_mean_of_the_languages_own_rows():
    sizes = {"de": 30, "en": 80, "th": 55}

    def predictions(digest: str) -> pa.Table | None:
        table = fake.predictions(digest)
        if table is None:
            return None
        names = [f"{row['language']}-{row['item_id']}" for row in table.to_pylist()]
        kept = [int(name.rpartition("-")[2]) < sizes[name[:2]] for name in names]
        return table.set_column(2, "item_id", pa.array(names)).filter(pa.array(kept))

    standing = fake.standing()
    answers = Answers(standing, fake.scores, predictions)
    rows = {(row["cell"], row["language"]): row for row in per_language(standing, answers).to_pylist()}
    for column in ("accuracy", "gain"):
        each = {code: rows["nli", code][column] for code in sizes}
        assert rows["nli", "mean"][column] == pytest.approx(np.mean(list(each.values())))
        assert rows["nli", "mean_without_en"][column] == pytest.approx((each["de"] + each["th"]) / 2)
    assert rows["nli", "mean"]["items"] == sum(sizes.values())
    for row in comparisons(standing, answers).to_pylist():
        assert row["gain"] == pytest.approx(rows[row["cell"], row["language"]]["gain"])
    groups = {row["group"]: row for row in per_group(standing, answers, "family").to_pylist() if row["cell"] == "nli"}
    assert groups["Germanic"]["accuracy"] == rows["nli", "de"]["accuracy"]


def test_a_mean_is_more_certain_with_seeds_that_differ_less():
    right = _drawn(SIZES)
    apart = {seed: {**right[seed], "th": right[seed]["th"] & (seed != 2)} for seed in SEEDS}
    one, other = (crossed.layouts(_matrix(_answers(_own_ids(SIZES), what))) for what in (right, apart))
    assert float(other.seed_part) > 10 * float(one.seed_part)
