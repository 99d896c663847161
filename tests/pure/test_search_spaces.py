"""Claims about what a sweep may vary: the ends of domains, shares that sum to 1, the parameters of each cell."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import (
    Cell,
    CellRole,
    Choice,
    Integers,
    LogRange,
    Range,
    Simplex,
    Space,
    grid,
    published,
    transfer_grid,
)
from search_spaces.extent import Extent
from search_spaces.mixing import EVEN_DRAW, HIGHEST_DRAW, LOWEST_DRAW, draws_of, shares_of
from search_spaces.space import with_values
from tests.pure.small_sweep import ALONE, BASELINE, FIXED, MIXED, SETTINGS
from trainables.canonical import canonical, decode
from trainables.catalogue import lab
from trainables.data.mixture import portions
from trainables.faults import Invalid
from trainables.settings import LoRA

NAN, INF = float("nan"), float("inf")
NAMES = [task.name for task in (lab.NLI, lab.QQP, lab.SQUAD)]
SPACE = Space(
    intermediate={"weight_decay": Range(0.0, 0.1), "learning_rate": LogRange(1e-4, 1e-2)},
    target={"dropout": Choice((0.0, 0.1, 0.3))},
    shares=Simplex(0.1),
)

draws_of_tasks = st.integers(1, 9).flatmap(
    lambda count: st.lists(st.floats(LOWEST_DRAW, HIGHEST_DRAW), min_size=count, max_size=count)
)


# Domains


@pytest.mark.parametrize("kind", [LogRange, Range])
def test_both_ends_of_a_range_belong_to_it_and_nothing_beyond(kind):
    domain = kind(1e-4, 1e-2)
    assert 1e-4 in domain and 1e-2 in domain and 1e-3 in domain
    for value in (math.nextafter(1e-4, 0), math.nextafter(1e-2, 1), NAN, "0.001", None):
        assert value not in domain


def test_a_choice_holds_its_options_alone():
    assert 0.1 in Choice((0.1, 0.3)) and 0.2 not in Choice((0.1, 0.3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LogRange(0.0, 1.0), "LogRange cannot be used:\n  - low must be above 0 on a log scale, got 0.0"),
        (lambda: LogRange(1e-3, 1e-3), "low must be below high, got 0.001 and 0.001; to fix a value, put it in the"),
        (lambda: LogRange(1e-2, 1e-3), "low must be below high, got 0.01 and 0.001"),
        (lambda: LogRange(NAN, 1.0), "low must be a finite number, got nan"),
        (lambda: LogRange(1.0, INF), "high must be a finite number, got inf"),
        (lambda: Range("0", 1.0), "low must be a finite number, got '0'"),
        (lambda: Range(True, 2.0), "low must be a finite number, got True"),
        (lambda: Choice((0.1,)), "options must be at least two different numbers, got (0.1,)"),
        (lambda: Choice((0.1, 0.1)), "options must be at least two different numbers, got (0.1, 0.1)"),
        (lambda: Choice((0.1, NAN)), "options must be a tuple of finite numbers, got (0.1, nan)"),
        (lambda: Choice((0.1, "linear")), "options must be a tuple of finite numbers, got (0.1, 'linear')"),
        (lambda: Simplex(1.0), "minimum must be from 0 up to but without 1, got 1.0"),
        (lambda: Simplex(-0.1), "minimum must be from 0 up to but without 1, got -0.1"),
        (lambda: Simplex(NAN), "minimum must be from 0 up to but without 1, got nan"),
        (lambda: Simplex(0.5, 0.5), "maximum must be above the minimum (0.5) and at most 1, got 0.5"),
        (lambda: Simplex(0.1, 1.1), "maximum must be above the minimum (0.1) and at most 1, got 1.1"),
        (lambda: Simplex(0.0, sparse=True), "minimum must be above 0 where shares are sparse"),
        (lambda: Simplex(sparse=1), "sparse must be True or False, got 1"),
        (lambda: Integers(1, 1), "low must be below high, got 1 and 1"),
        (lambda: Integers(1, 2.5), "low and high must be whole numbers, got 1 and 2.5"),
        (lambda: Integers(False, 2), "low and high must be whole numbers, got False and 2"),
        (lambda: Choice([1, 2]), "options must be a tuple of finite numbers, got [1, 2]"),
    ],
)
def test_a_domain_that_cannot_work_is_refused_with_the_reason(make, text):
    with pytest.raises(Invalid) as refused:
        make()
    assert text in str(refused.value)


def test_the_least_minimum_is_no_minimum():
    assert Simplex(0.0).minimum == 0.0


def test_integers_hold_both_ends_and_whole_numbers_alone():
    for value in (2, 3, 5):
        assert value in Integers(2, 5)
    for value in (1, 6, 3.0, True, None):
        assert value not in Integers(2, 5)


# Shares


@st.composite
def simplices(draw, tasks: int) -> Simplex:
    """Bounds that leave room for so many tasks."""
    sparse = draw(st.booleans())
    minimum = draw(st.floats(0.01, 0.9 / tasks if not sparse else 0.4))
    maximum = draw(st.floats(max(1 / tasks, minimum) + 1e-6, 1.0))
    most = 1 / math.ceil(1 / maximum - 1e-12)  # what a minimum may be where that many tasks stay on
    return Simplex(min(minimum, 0.999 * most) if sparse else minimum, maximum, sparse)


@given(data=st.data(), draws=draws_of_tasks.filter(lambda draws: len(draws) > 1))
def test_bounded_shares_sum_to_one_and_keep_their_bounds_or_are_off(data, draws):
    simplex = data.draw(simplices(len(draws)))
    shares = shares_of({f"t{place}": draw for place, draw in enumerate(draws)}, simplex)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-9)
    on = {name: share for name, share in shares.items() if share}
    assert max(on.values()) <= simplex.maximum + 1e-9
    assert min(on.values()) >= simplex.minimum - 1e-8
    assert simplex.sparse or on.keys() == shares.keys()


def test_a_sparse_share_below_the_minimum_is_off_and_a_share_above_the_maximum_feeds_the_others():
    draws = {"a": math.exp(-6.0), "b": math.exp(-3.0), "c": math.exp(-1.0)}
    assert shares_of(draws, Simplex(0.2, sparse=True)) == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0.0})
    capped = shares_of(draws, Simplex(0.0, 0.5))
    assert capped == pytest.approx({"a": 0.5, "b": 0.375, "c": 0.125})


@pytest.mark.parametrize(("simplex", "count"), [(Simplex(0.05, 0.49, sparse=True), 3), (Simplex(0.3, 0.4, True), 3)])
def test_a_task_that_the_maximum_keeps_on_has_the_minimum_at_least(simplex, count):
    for draws in ((0.01, 0.02, 0.98), (0.01, 0.9, 0.98), (0.5, 0.02, 0.999, 0.97)):
        shares = shares_of({f"t{place}": draw for place, draw in enumerate(draws)}, simplex)
        on = [share for share in shares.values() if share]
        assert len(on) == count and sum(on) == pytest.approx(1)
        assert simplex.minimum - 1e-9 <= min(on) <= max(on) <= simplex.maximum + 1e-9


def test_a_sparse_minimum_that_no_number_of_tasks_can_hold_is_refused():
    for minimum, maximum, on, most in ((0.45, 0.49, 3, 0.333), (0.6, 0.8, 2, 0.5)):
        with pytest.raises(Invalid) as refused:
            Simplex(minimum, maximum, sparse=True)
        assert refused.value.faults == (
            f"minimum must leave room for the {on} tasks that a maximum of {maximum} keeps on, got {minimum}; "
            f"lower it to at most {most}, or raise the maximum",
        )


@given(data=st.data(), draws=draws_of_tasks.filter(lambda draws: len(draws) > 1))
def test_shares_come_back_from_the_one_form_of_their_draws(data, draws):
    simplex = data.draw(st.sampled_from([Simplex(0.0), Simplex(0.01), Simplex(0.02, sparse=True)]))
    shares = shares_of({f"t{place}": draw for place, draw in enumerate(draws)}, simplex)
    again = shares_of(draws_of(shares, simplex), simplex)
    assert again == pytest.approx(shares, abs=1e-5)


# The grid of values


@pytest.mark.parametrize(
    ("domain", "count", "expected"),
    [
        (LogRange(1e-4, 1e-2), 3, (1e-4, 1e-3, 1e-2)),
        (LogRange(1e-4, 1e-2), 2, (1e-4, 1e-2)),
        (Range(0.0, 0.3), 4, (0.0, 0.1, 0.2, 0.3)),
        (Integers(1, 9), 3, (1, 5, 9)),
        (Integers(1, 2), 5, (1, 2)),
        (Choice((0.3, 0.1)), 5, (0.3, 0.1)),
    ],
)
def test_the_values_of_a_grid_are_even_on_their_scale_and_hold_both_ends(domain, count, expected):
    found = grid.values(domain, count)
    assert found == pytest.approx(expected)
    assert found[0] == expected[0] and found[-1] == expected[-1] and all(value in domain for value in found)


@given(tasks=st.integers(2, 5), points=st.integers(2, 3), group=st.integers(1, 5))
def test_a_grid_has_as_many_points_as_are_counted_all_different_and_all_allowed(tasks, points, group):
    simplex = Simplex(0.05, 0.9)
    shares = {f"share.t{number}": Range(LOWEST_DRAW, HIGHEST_DRAW) for number in range(tasks)}
    parameters = shares | {"target.dropout": Choice((0, 0.1))}
    found = grid.points(parameters, simplex, points, 1000, group=group, seed=1)
    assert len(found) == grid.size(parameters, simplex, points, 1000)
    assert all(point[name] in domain for point in found for name, domain in parameters.items())
    assert found == grid.points(parameters, simplex, points, 1000, group=group, seed=1)


@pytest.mark.parametrize(
    ("simplex", "tasks", "steps"),
    [
        (Simplex(0.3, sparse=True), 3, 100),
        (Simplex(0.05, 0.4), 3, 100),
        (Simplex(0.05, 0.5, True), 4, 100),
        (Simplex(0.0), 3, 3),
    ],
)
def test_a_grid_of_shares_has_no_two_points_that_come_to_the_same_whole_steps(simplex, tasks, steps):
    parameters = {f"share.t{number}": Range(LOWEST_DRAW, HIGHEST_DRAW) for number in range(tasks)}
    found = grid.points(parameters, simplex, 4, steps, group=1, seed=1)
    whole = {tuple(portions(shares_of(point, simplex), steps).values()) for point in found}
    assert len(whole) == len(found) == grid.size(parameters, simplex, 4, steps) < math.comb(tasks + 3, 4)
    assert grid.size(parameters, simplex, 4, steps, enough=2) == 2


def test_a_space_is_gone_through_once_in_an_order_of_the_seed():
    parameters = {"target.warmup_steps": Integers(0, 6), "target.dropout": Choice((0.0, 0.1, 0.3))}
    parameters |= {f"share.t{number}": Range(LOWEST_DRAW, HIGHEST_DRAW) for number in range(2)}
    points = list(grid.every(parameters, Simplex(0.2), 5, seed="a"))
    found = [tuple(sorted(point.items())) for point in points]
    assert len(set(found)) == len(found) == 7 * 3 * 4
    assert {sum(point["share.t0"] == mixture["share.t0"] for point in points) for mixture in points} == {7 * 3}
    other = [tuple(sorted(point.items())) for point in grid.every(parameters, Simplex(0.2), 5, seed="b")]
    assert other != found and set(other) == set(found)
    assert len(list(grid.every({"target.dropout": Range(0.0, 0.3)}, Simplex(), 0, seed="a"))) == 32
    assert list(grid.every({}, Simplex(), 0, seed="a")) == [{}]


# Whether a point that was tried lies in a space that was edited


def test_a_point_lies_in_a_space_by_what_is_searched_and_by_the_defaults_of_what_is_not():
    space = Space(
        intermediate={"learning_rate": LogRange(1e-4, 1e-2)},
        target={"dropout": Choice((0.0, 0.1))},
        shares=Simplex(0.1),
    )
    settings = replace(SETTINGS, dropout=0.1)
    extent = space.extent(MIXED, settings, settings)
    point = {"intermediate.learning_rate": 1e-3, "target.dropout": 0.0, "share.a": 0.25, "share.b": 0.75}
    assert extent.holds(point) and extent.holds({})
    for name, value in point.items():
        assert extent.holds({other: v for other, v in point.items() if other != name}), "it stood at its default"
        assert not extent.holds(point | {name: value / 1000 if value else 0.3})
    assert extent.holds(point | {"target.learning_rate": settings.learning_rate})
    assert not extent.holds(point | {"target.learning_rate": 2 * settings.learning_rate})
    assert not extent.holds(point | {"share.a": 0.0})
    sparse = replace(space, shares=Simplex(0.1, sparse=True)).extent(MIXED, settings, settings)
    assert sparse.holds(point | {"share.a": 0.0}) and not sparse.holds(point | {"share.a": 0.05})
    assert decode(Extent, json.loads(canonical(extent))) == extent


# Published spaces


def test_every_published_bound_is_one_that_fine_tuning_can_use():
    settings = replace(SETTINGS, learning_rate=1e-5, lora=LoRA())
    for domains in (published.INTERMEDIATE, published.INTERMEDIATE_GRID, published.XTREME_TARGET, published.ADAPTERS):
        space = Space(intermediate=domains, target=domains)
        assert list(space.end_faults("target", settings)) == []
        assert list(space.default_faults("target", settings)) == []
    assert grid.size(Space(target=published.INTERMEDIATE_GRID).parameters(BASELINE), Simplex(), 2, 0) == 10


# Shares as they are drawn


@given(draws=draws_of_tasks, part=st.floats(0, 1, exclude_max=True))
def test_shares_sum_to_one_and_keep_the_minimum(draws, part):
    minimum = part / len(draws)
    shares = shares_of({f"t{place}": draw for place, draw in enumerate(draws)}, Simplex(minimum))
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert all(math.isfinite(share) and share >= minimum for share in shares.values())


@given(draw=st.floats(LOWEST_DRAW, HIGHEST_DRAW), count=st.integers(1, 9))
def test_equal_draws_give_even_shares(draw, count):
    shares = shares_of({f"t{place}": draw for place in range(count)}, Simplex(0.0))
    assert list(shares.values()) == pytest.approx([1 / count] * count)


@given(draws=draws_of_tasks.filter(lambda draws: len(draws) > 1))
def test_a_smaller_draw_never_gives_a_smaller_share(draws):
    shares = list(shares_of({f"t{place}": draw for place, draw in enumerate(draws)}, Simplex(0.0)).values())
    by_draw = sorted(range(len(draws)), key=lambda place: (draws[place], -shares[place]))
    ordered = [shares[place] for place in by_draw]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize("draw", [0.0, 1.0, -0.5, 1.5, NAN])
def test_a_draw_at_an_end_of_the_unit_interval_is_refused(draw):
    with pytest.raises(ValueError, match=f"between 0 and 1, both excluded, got {draw!r} for 'b'"):
        shares_of({"a": 0.5, "b": draw}, Simplex(0.0))


def test_a_minimum_that_leaves_no_room_is_refused():
    assert shares_of({"a": 0.1, "b": 0.9}, Simplex(0.5)) == {"a": 0.5, "b": 0.5}
    with pytest.raises(
        ValueError, match=r"the minimum share must leave room for the 2 tasks, got 0.51; lower it to at most 0.5"
    ):
        shares_of({"a": 0.1, "b": 0.9}, Simplex(0.51))


# The space


def test_each_cell_has_only_the_parameters_that_mean_something_in_it():
    intermediate = ["intermediate.learning_rate", "intermediate.weight_decay"]
    shares = ["share.lab_nli", "share.lab_qqp"]
    assert list(SPACE.parameters(BASELINE)) == ["target.dropout"]
    assert list(SPACE.parameters(ALONE)) == [*intermediate, "target.dropout"]
    assert list(SPACE.parameters(FIXED)) == [*intermediate, "target.dropout"]
    assert list(SPACE.parameters(MIXED)) == [*intermediate, *shares, "target.dropout"]
    assert SPACE.parameters(MIXED)["share.lab_nli"] == Range(LOWEST_DRAW, HIGHEST_DRAW)
    assert 0 < LOWEST_DRAW < EVEN_DRAW < HIGHEST_DRAW < 1


def test_the_default_draws_are_the_settings_and_even_shares():
    draws = SPACE.default_draws(MIXED, SETTINGS, SETTINGS)
    assert draws == {
        "intermediate.learning_rate": SETTINGS.learning_rate,
        "intermediate.weight_decay": SETTINGS.weight_decay,
        "share.lab_nli": EVEN_DRAW,
        "share.lab_qqp": EVEN_DRAW,
        "target.dropout": SETTINGS.dropout,
    }
    values = SPACE.values(MIXED, draws)
    assert values["share.lab_nli"] == values["share.lab_qqp"] == pytest.approx(0.5)


def test_values_hold_shares_also_where_none_are_searched():
    assert SPACE.values(BASELINE, {"target.dropout": 0.1}) == {"target.dropout": 0.1}
    assert SPACE.values(ALONE, {})["share.lab_nli"] == 1.0
    assert SPACE.values(FIXED, {}) == {"share.lab_nli": 0.25, "share.lab_qqp": 0.75}


@given(first=st.floats(LOWEST_DRAW, HIGHEST_DRAW), second=st.floats(LOWEST_DRAW, HIGHEST_DRAW))
def test_searched_shares_keep_the_minimum_of_the_space(first, second):
    values = SPACE.values(MIXED, {"share.lab_nli": first, "share.lab_qqp": second, "target.dropout": 0.3})
    assert values["target.dropout"] == 0.3
    assert min(values["share.lab_nli"], values["share.lab_qqp"]) >= 0.1


def test_a_space_names_all_its_faults_at_once():
    with pytest.raises(Invalid) as refused:
        Space(intermediate={"learning_rat": LogRange(1e-4, 1e-2)}, target={"dropout": (0.0, 0.1), "batch_size": 3})
    unknown, no_domain, costly, three = refused.value.faults
    assert (
        "intermediate must name settings that can be searched, got 'learning_rat'; did you mean 'learning_r" in unknown
    )
    assert no_domain == "target['dropout'] must be a LogRange, Range, Integers or Choice, got (0.0, 0.1)"
    assert "got 'batch_size'" in costly and "got 3" in three


def test_a_default_outside_its_domain_cannot_be_the_first_trial():
    inside = list(Space(target={"learning_rate": LogRange(1e-3, 1e-2)}).default_faults("target", SETTINGS))
    (fault,) = Space(target={"learning_rate": LogRange(2e-3, 1e-2)}).default_faults("target", SETTINGS)
    assert inside == []
    assert fault == (
        "target settings are the first trial, so learning_rate must lie in LogRange(low=0.002, high=0.01), got 0.001; "
        "widen the domain or change the setting"
    )


def test_an_end_of_a_domain_that_no_stage_can_use_is_found_before_a_trial_draws_it():
    good = Space(target={"learning_rate": LogRange(1e-6, 1.0), "dropout": Range(0.0, 0.9)})
    bad = Space(target={"learning_rate": LogRange(1e-6, 2.0), "dropout": Choice((0.1, 1.0))})
    assert list(good.end_faults("target", SETTINGS)) == []
    rate, dropout = bad.end_faults("target", SETTINGS)
    assert rate.startswith("target['learning_rate'] must hold only values that a stage can use: learning_rate must be")
    assert dropout.endswith("dropout must be from 0 up to but without 1, got 1.0")


def test_values_reach_the_settings_of_their_own_stage_only():
    values = {"intermediate.learning_rate": 0.002, "target.learning_rate": 0.003, "target.dropout": 0.3, "share.a": 1.0}
    assert with_values(SETTINGS, values, "intermediate").learning_rate == 0.002
    changed = with_values(SETTINGS, values, "target")
    assert (changed.learning_rate, changed.dropout, changed.maximum_steps) == (0.003, 0.3, SETTINGS.maximum_steps)
    assert with_values(SETTINGS, {}, "target") == SETTINGS


# The grid


def test_the_grid_is_the_baseline_each_task_each_mixture_each_control_and_the_blind_cells():
    cells = transfer_grid(
        (lab.NLI, lab.QQP), mixtures=[(lab.NLI, lab.QQP)], controls=[lab.NLI_SHUFFLED], compute_matched=True
    )
    assert [(cell.name, cell.role) for cell in cells] == [
        ("none", CellRole.BASELINE),
        ("lab_nli", CellRole.TRANSFER),
        ("lab_qqp", CellRole.TRANSFER),
        ("lab_nli+lab_qqp", CellRole.TRANSFER),
        ("lab_nli_shuffled", CellRole.CONTROL),
        ("none_compute_matched", CellRole.COMPUTE_MATCHED),
        ("image_only", CellRole.IMAGE_ONLY),
        ("hypothesis_only", CellRole.HYPOTHESIS_ONLY),
    ]
    least = transfer_grid((lab.NLI,), image_only=False, hypothesis_only=False)
    assert [cell.name for cell in least] == ["none", "lab_nli"]


def test_shares_are_searched_only_where_tasks_are_mixed_and_none_are_stated():
    assert [cell.searches_shares for cell in (BASELINE, ALONE, FIXED, MIXED)] == [False, False, False, True]


TWO = (lab.NLI, lab.QQP)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "a/b", "intermediates": TWO}, "name must be letters, digits, '_', '-' and '+' (it becomes a file"),
        ({"name": "", "intermediates": TWO}, "name must be letters, digits, '_', '-' and '+'"),
        ({"intermediates": (lab.NLI, lab.NLI)}, "intermediate tasks must differ, got ['lab_nli', 'lab_nli']"),
        (
            {},
            "a cell of role transfer must have an intermediate task, align words or learn the target from another task",
        ),
        (
            {"role": CellRole.BASELINE, "intermediates": TWO},
            "a cell of role baseline must have no intermediate task nor other, got ['lab_nli', 'lab_qqp']",
        ),
        (
            {"intermediates": TWO, "shares": (("lab_nli", 0.5), ("lab_qqp", 0.4))},
            "shares must sum to 1, got 0.9; divide each by the sum",
        ),
        (
            {"intermediates": TWO, "shares": (("lab_nli", 1.0), ("lab_qqp", 0.0))},
            "shares must be numbers above 0, got [1.0, 0.0]; leave a task out instead of giving it 0",
        ),
        ({"intermediates": TWO, "shares": (("lab_nli", NAN), ("lab_qqp", 1.0))}, "shares must be numbers above 0"),
        (
            {"intermediates": TWO, "shares": (("lab_nli", 1.0),)},
            "shares must name each intermediate task once (['lab_nli', 'lab_qqp']), got ['lab_nli']",
        ),
    ],
)
def test_a_cell_that_cannot_work_is_refused_with_the_reason(given, text):
    with pytest.raises(Invalid) as refused:
        Cell(**({"name": "cell"} | given))
    assert text in str(refused.value)


def test_a_cell_names_all_its_faults_at_once():
    with pytest.raises(Invalid) as refused:
        Cell(name="a b", intermediates=(lab.NLI, lab.NLI), shares=(("lab_qqp", 0.5),))
    assert [fault.split(" must")[0] for fault in refused.value.faults] == [
        "name", "intermediate tasks", "shares", "shares",
    ]  # fmt: skip


@given(shares=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3))
def test_shares_divided_by_their_sum_make_a_cell(shares):
    total = math.fsum(shares)
    stated = tuple((name, share / total) for name, share in zip(NAMES, shares, strict=True))
    assert not Cell(name="fixed", intermediates=(lab.NLI, lab.QQP, lab.SQUAD), shares=stated).searches_shares


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: transfer_grid(["nli", lab.QQP], controls=["other"]),
            [
                "tasks must be Task values, got 'nli'; use task('nli') of trainables.catalogue.registry",
                "controls must be Task values, got 'other'; use task('other') of trainables.catalogue.registry",
            ],
        ),
        (
            lambda: transfer_grid([], mixtures=[("lab_nli", lab.QQP)]),
            ["mixtures must be Task values, got 'lab_nli'; use task('lab_nli') of trainables.catalogue.registry"],
        ),
        (lambda: transfer_grid([], mixtures=[lab.NLI]), ["each of mixtures must be a sequence of tasks, got Task("]),
        (
            lambda: Cell(name="a", intermediates=("nli",)),
            ["intermediates must be Task values, got 'nli'; use task('nl"],
        ),
        (lambda: Cell(name="a", intermediates=lab.NLI), ["intermediates must be a tuple of tasks, got Task("]),
        (lambda: Cell(name="a", align_words="words"), ["align_words must be Task values, got 'words'; use task('wor"]),
        (lambda: transfer_grid("lab_nli"), ["tasks must be a sequence, got 'lab_nli'; put it in (…,)"]),
        (lambda: transfer_grid(lab.NLI), ["tasks must be a sequence, got Task("]),
        *(
            (
                lambda shares=shares: Cell(name="a", intermediates=(lab.NLI, lab.QQP), shares=shares),
                [f"shares must be pairs of a task's name and its share, got {shares!r}"],
            )
            for shares in ({"lab_nli": 0.5, "lab_qqp": 0.5}, (0.5, 0.5))
        ),
        (lambda: Cell(name="a", learned_from=3), ["learned_from must be Task values, got 3; give a task"]),
    ],
)
def test_what_stands_where_a_task_must_is_told_with_how_to_get_the_task(make, says):
    with pytest.raises(Invalid) as refused:
        make()
    assert len(refused.value.faults) == len(says)
    assert all(fault.startswith(said) for fault, said in zip(refused.value.faults, says, strict=True))
