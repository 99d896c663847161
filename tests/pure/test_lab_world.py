"""Claims about scenes, labels, splits and images of the lab."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import of_examples
from trainables.lab.render import CELL, CELL_OF, png, render
from trainables.lab.templates import (
    TEMPLATES,
    Draw,
    draw_any_formula,
    draw_formula,
    draw_scene,
    draw_scene_for,
    meaning,
    neighbours,
    rewordings,
)
from trainables.lab.world import (
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    SPLIT_PERCENT,
    SPLITS,
    THING_VALUES,
    THINGS,
    Both,
    Count,
    Exists,
    Is,
    Label,
    More,
    Not,
    Pattern,
    Scene,
    ThereAmong,
    Thing,
    label,
    labels,
    truth,
)

things = st.sampled_from(THINGS)
scenes = st.builds(Scene, things=st.tuples(things, things, things, things), hidden=st.sampled_from(PLACES))
seeds = st.integers(0, 2**32 - 1)


def formula_of(seed: int):
    return draw_any_formula(Draw(np.random.default_rng(seed)))


SCENE = Scene(
    things=(
        Thing(size="small", colour="red", shape="circle"),
        Thing(size="big", colour="red", shape="square"),
        Thing(size="big", colour="blue", shape="ring"),
        Thing(size="small", colour="green", shape="circle"),
    ),
    hidden="bottom",
)
RED, BLUE, CIRCLE = Pattern(colour="red"), Pattern(colour="blue"), Pattern(shape="circle")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (Is(place="left", pattern=RED), Label.entailment),
        (Is(place="left", pattern=BLUE), Label.contradiction),
        (Is(place="bottom", pattern=RED), Label.neutral),
        (Not(claim=Is(place="left", pattern=RED)), Label.contradiction),
        (Not(claim=Is(place="bottom", pattern=RED)), Label.neutral),
        (Both(first=Is(place="left", pattern=RED), second=Is(place="bottom", pattern=RED)), Label.neutral),
        (Both(first=Is(place="left", pattern=BLUE), second=Is(place="bottom", pattern=RED)), Label.contradiction),
        (ThereAmong(first_place="bottom", second_place="left", pattern=RED), Label.entailment),
        (ThereAmong(first_place="bottom", second_place="top", pattern=RED), Label.neutral),
        (Exists(pattern=RED), Label.entailment),
        (Exists(pattern=Pattern(colour="black")), Label.neutral),
        (Count(relation="at_least", number=2, pattern=RED), Label.entailment),
        (Count(relation="at_least", number=2, pattern=CIRCLE), Label.neutral),
        (Count(relation="at_least", number=3, pattern=CIRCLE), Label.contradiction),
        (Count(relation="at_most", number=1, pattern=RED), Label.contradiction),
        (Count(relation="exactly", number=2, pattern=RED), Label.neutral),
        (More(first=RED, second=BLUE), Label.neutral),
        (More(first=BLUE, second=RED), Label.contradiction),
    ],
)
def test_a_label_follows_from_what_can_be_behind_the_curtain(formula, expected):
    assert label(formula, SCENE) == expected


@given(scene=scenes, seed=seeds, behind=things)
def test_a_label_does_not_depend_on_the_hidden_thing(scene, seed, behind):
    others = tuple(behind if place == scene.hidden else scene.things[i] for i, place in enumerate(PLACES))
    other = Scene(things=others, hidden=scene.hidden)
    formula = formula_of(seed)
    assert label(formula, scene) == label(formula, other)
    assert scene.split == other.split
    assert np.array_equal(render(scene, 3), render(other, 3))


@given(scene=scenes, seed=seeds)
def test_what_is_entailed_is_true_and_what_is_contradicted_is_false(scene, seed):
    formula = formula_of(seed)
    values = np.array([THING_VALUES[THINGS.index(thing)] for thing in scene.things])
    told = label(formula, scene)
    if told != Label.neutral:
        assert bool(truth(formula, values)) == (told == Label.entailment)


@given(seed=seeds, wanted=st.sampled_from(Label), split=st.sampled_from(SPLITS))
@of_examples(1.2)
def test_a_scene_found_for_a_label_has_the_label_and_belongs_to_the_split(seed, wanted, split):
    draw = Draw(np.random.default_rng(seed))
    formula = draw_formula(draw)
    scene = draw_scene_for(formula, wanted, split, draw)
    assert (label(formula, scene), scene.split) == (wanted, split)


def test_a_label_that_no_scene_can_give_is_refused():
    draw = Draw(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"no test scene gives .* the label contradiction; choose another"):
        draw_scene_for(Exists(pattern=RED), Label.contradiction, "test", draw)


@given(seed=seeds)
@of_examples(0.8)
def test_no_scene_is_in_two_splits(seed):
    drawn = {split: draw_scene(split, Draw(np.random.default_rng(seed))) for split in SPLITS}
    assert {split: scene.split for split, scene in drawn.items()} == {split: split for split in SPLITS}


def test_the_splits_have_their_shares_and_never_change():
    draw = np.random.default_rng(0)
    sample = [
        Scene(things=tuple(THINGS[i] for i in draw.integers(0, len(THINGS), 4)), hidden=PLACES[draw.integers(4)])
        for _ in range(2000)
    ]
    names = [scene.split for scene in sample]
    for split, percent in SPLIT_PERCENT.items():
        assert abs(names.count(split) / len(names) - percent / 100) < 0.04
    assert hashlib.sha256(" ".join(names).encode()).hexdigest()[:16] == "d5424c621697aa5f"


@given(seed=seeds)
def test_rewordings_mean_the_same_and_neighbouring_claims_do_not(seed):
    draw = Draw(np.random.default_rng(seed))
    formula = draw_formula(draw)
    values = THING_VALUES[np.random.default_rng(seed).integers(0, len(THINGS), (5000, 4))]
    for other in rewordings(formula):
        assert meaning(other) == meaning(formula)
        assert np.array_equal(truth(other, values), truth(formula, values))
    for other in neighbours(formula) if rewordings(formula) else ():
        assert meaning(other) != meaning(formula)
        assert not np.array_equal(truth(other, values), truth(formula, values))


def test_the_world_is_as_large_as_was_promised():
    assert (len(COLOURS), len(SHAPES), len(SIZES), len(PLACES)) == (6, 5, 2, 4)
    assert sum(template.weight > 0 for template in TEMPLATES.values()) >= 14
    assert sum(template.weight for template in TEMPLATES.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", [name for name, template in TEMPLATES.items() if template.weight > 0])
def test_every_template_that_is_asked_can_have_every_label(name):
    rng = np.random.default_rng(1)
    draw = Draw(rng)
    values = THING_VALUES[rng.integers(0, len(THINGS), (500, 4))]
    seen: set[int] = set()
    for _ in range(30):
        seen |= set(labels(TEMPLATES[name].draw(draw), values, rng.integers(0, 4, 500)).tolist())
    assert seen == set(Label)


def test_a_pattern_that_says_nothing_and_a_colour_that_is_none_are_refused():
    with pytest.raises(ValueError, match="at least one of size, colour, shape; all are None"):
        Pattern()
    with pytest.raises(ValueError, match=r"size must be one of .*; 'tiny' arrived; colour must be one of .*'pink'"):
        Thing(size="tiny", colour="pink", shape="ring")


@given(scene=scenes, seed=st.integers(0, 1000))
def test_an_image_is_small_seeded_and_shows_each_visible_thing_in_its_cell(scene, seed):
    image = render(scene, seed)
    assert (image.shape, image.dtype) == ((3 * CELL, 3 * CELL, 3), np.uint8)
    assert np.array_equal(image, render(scene, seed))
    background = image[0, 0]
    for place, (row, column) in CELL_OF.items():
        cell = image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        drawn = (cell != background).any(-1).sum()
        assert drawn == CELL * CELL if place == scene.hidden else 8 <= drawn <= 100


def test_all_things_look_different_even_when_moved_by_a_pixel():
    seen: dict[bytes, Thing] = {}
    for thing in THINGS:
        for seed in range(40):
            image = render(Scene(things=(thing,) * 4, hidden="top"), seed).astype(int)
            cell = image[CELL : 2 * CELL, :CELL]
            bright = (cell * 1000 // max(1, image[0, 0, 0]) + 40) // 80  # brightness taken out
            assert seen.setdefault(bright.tobytes(), thing) == thing


def test_an_encoded_image_is_a_png():
    assert png(render(SCENE, 0)).startswith(b"\x89PNG")
