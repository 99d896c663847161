"""Fifteen languages of the lab: complete, unambiguous, made of known words."""

import unicodedata
from itertools import product

import numpy as np
import pytest

from trainables.lab.lexicon import GRAMMARS
from trainables.lab.sentences import LANGUAGES, ask, describe, describe_in_order, forms, locate, say, words
from trainables.lab.templates import TEMPLATES, Draw, draw_scene, rewordings
from trainables.lab.world import ATTRIBUTES, COLOURS, PLACES, SHAPES, SIZES, Count, Is, More, Not, Pattern, There

CONTENT = {*COLOURS, *SHAPES, *SIZES, *PLACES, "object", "curtain"}


def sample_formulas(each: int):
    """Claims of every template, in all their wordings."""
    draw = Draw(np.random.default_rng(11))
    drawn = [template.draw(draw) for template in TEMPLATES.values() for _ in range(each)]
    return list(dict.fromkeys(wording for formula in drawn for wording in (formula, *rewordings(formula))))


def claims_of_every_pattern():
    """Also those that no template makes: a grammar can be asked for them."""
    for size, colour, shape in product((None, *SIZES), (None, *COLOURS), (None, *SHAPES)):
        if size or colour or shape:
            pattern = Pattern(size=size, colour=colour, shape=shape)
            for claim in (Is(place="left", pattern=pattern), There(place="top", pattern=pattern)):
                yield from (claim, Not(claim=claim))
            yield from (Count(relation="at_most", number=number, pattern=pattern) for number in (1, 2, 3))
            yield from (More(first=pattern, second=RED), More(first=RED, second=pattern))


RED = Pattern(colour="red")
FORMULAS = sample_formulas(150)
SCENES = [draw_scene("train", Draw(np.random.default_rng(seed))) for seed in range(150)]


def test_the_languages_are_those_of_xnli():
    assert sorted(LANGUAGES) == "ar bg de el en es fr hi ru sw th tr ur vi zh".split()


@pytest.mark.parametrize("language", LANGUAGES)
class TestEachLanguage:
    def test_is_made_of_its_known_words_and_uses_them_all(self, language):
        used = {word for formula in FORMULAS for word in words(say(formula, language), language)}
        used |= {word for scene in SCENES for word in words(describe(scene, language), language)}
        used |= {word for formula in claims_of_every_pattern() for word in words(say(formula, language), language)}
        if language == "en":
            asked = (ask(attribute, place, language) for attribute, place in product(ATTRIBUTES, PLACES))
            used |= {word for question in asked for word in words(question, language)}
        assert used == set(forms(language))

    def test_segments_as_the_grammar_meant(self, language):
        grammar = GRAMMARS[language]
        known = forms(language)
        for formula in FORMULAS[::5]:
            meant = [word for word in grammar.say(formula).split() if word in known or word != ","]
            read = [word for word in words(say(formula, language), language)]
            assert read == [word if word != "," else grammar.comma for word in meant]

    def test_has_a_word_for_every_concept_of_the_world(self, language):
        assert CONTENT <= set(forms(language).values())

    def test_says_different_claims_differently(self, language):
        assert len({say(formula, language) for formula in FORMULAS}) == len(FORMULAS)

    def test_describes_different_scenes_differently(self, language):
        visible = {tuple(scene.visible.items()) for scene in SCENES}
        assert len({describe(scene, language) for scene in SCENES}) == len(visible)

    def test_speaks_of_the_same_things_in_every_claim_as_english(self, language):
        """Words repeat in some languages ('x is red or is blue'), so only the sets are compared."""
        numbers_in_the_noun = {"one", "a", "object"}
        for formula in FORMULAS[::3]:
            ours = {forms(language)[word] for word in words(say(formula, language), language)} & CONTENT
            english = {forms("en")[word] for word in words(say(formula, "en"), "en")} & CONTENT
            assert ours - numbers_in_the_noun == english - numbers_in_the_noun

    def test_is_lower_case_in_composed_characters(self, language):
        for form in forms(language):
            assert form == form.lower() == unicodedata.normalize("NFC", form)

    def test_locates_every_attribute_in_a_description(self, language):
        for number, scene in enumerate(SCENES[:60]):
            order = tuple(np.random.default_rng(number).permutation(PLACES).tolist())
            text = describe_in_order(scene, language, order)
            for place, thing in scene.visible.items():
                for attribute in ATTRIBUTES:
                    answer, start = locate(scene, attribute, place, language, order)
                    assert text[start : start + len(answer)] == answer
                    named = {forms(language)[word] for word in words(answer, language)}
                    assert named == {getattr(thing, attribute)}


def test_english_descriptions_have_at_most_28_words():
    assert max(len(words(describe(scene, "en").replace(",", ""), "en")) for scene in SCENES) <= 28


def test_swahili_shares_no_content_word_with_any_other_language():
    swahili = {form for form, concept in forms("sw").items() if concept in CONTENT}
    for other in set(LANGUAGES) - {"sw"}:
        assert not swahili & set(forms(other))


def test_a_content_word_means_the_same_in_every_language_that_has_it():
    meanings: dict[str, set[str]] = {}
    for language in LANGUAGES:
        for form, concept in forms(language).items():
            meanings.setdefault(form, set()).add(concept)
    assert {form: found for form, found in meanings.items() if len(found) > 1 and found & CONTENT} == {}


def test_the_order_of_places_follows_the_generator():
    orders = {describe(SCENES[0], "en", np.random.default_rng(seed)) for seed in range(60)}
    assert len(orders) > 12
    assert {tuple(sorted(text.split(", "))) for text in orders} == {
        tuple(sorted(describe(SCENES[0], "en").split(", ")))
    }


@pytest.mark.parametrize(
    ("language", "expected"),
    {
        "de": "es gibt höchstens einen roten kreis",
        "fr": "il y a au plus un cercle rouge",
        "ru": "есть максимум один красный круг",
        "ar": "توجد دائرة حمراء واحدة على الأكثر",
        "sw": "kuna si zaidi ya duara jekundu moja",
        "zh": "最多有一个红色圆形",
    }.items(),
)
def test_words_agree(language, expected):
    pattern = Pattern(colour="red", shape="circle")
    assert say(Count(relation="at_most", number=1, pattern=pattern), language) == expected


def test_an_unknown_language_is_answered_with_the_nearest():
    with pytest.raises(LookupError, match="'fra' arrived; nearest is 'fr'"):
        describe(SCENES[0], "fra")
    with pytest.raises(LookupError, match="asks no questions in 'de' yet; ask in 'en'"):
        ask("size", "left", "de")


def test_text_that_a_language_cannot_produce_is_refused():
    with pytest.raises(ValueError, match="zh: no word of the lab starts at '紫色'"):
        words("左边的物体是紫色", "zh")
