"""Turning predictions into numbers in 0..1, as the official evaluators do; knows no model and no task."""

from __future__ import annotations

import re
import string
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

Normalise = Callable[[str], str]


def normalised(answer: str) -> str:
    """An answer as SQuAD 1.1 compares it: lower case, without punctuation and English articles, single spaces.

    Source: Rajpurkar et al. 2016, evaluate-v1.1.py; XTREME uses it for every language.
    """
    lowered = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())


#: What MLQA takes for an article. The Arabic pattern is the evaluator's own, though its first half never matches.
_ARTICLES = {
    "ar": r"\sال^|ال",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
}


@lru_cache(maxsize=1)
def _punctuation() -> frozenset[str]:
    """Every character of a Unicode category that begins with P, and ASCII punctuation."""
    every = (chr(code) for code in range(sys.maxunicode))
    return frozenset(letter for letter in every if unicodedata.category(letter).startswith("P")) | set(
        string.punctuation
    )


def mlqa_normalised(answer: str, language: str) -> str:
    """An answer as MLQA compares it: articles of its language, punctuation of any, and in Chinese each sign a word.

    A language that MLQA has not is divided at spaces and keeps its articles.
    Source: Lewis et al. 2020, mlqa_evaluation_v1.py.
    """
    without = "".join(letter for letter in answer.lower() if letter not in _punctuation())
    if language in _ARTICLES:
        without = re.sub(_ARTICLES[language], " ", without)
    if language == "zh":
        without = re.sub(r"([\u4e00-\u9fa5])", r" \1 ", without)
    return " ".join(without.split())


def exact_match(gold: str, predicted: str, normalise: Normalise = normalised) -> bool:
    """Whether two answers are the same after normalisation, SQuAD's if no other is given."""
    return normalise(gold) == normalise(predicted)


def token_f1(gold: str, predicted: str, normalise: Normalise = normalised, *, may_be_empty: bool = False) -> float:
    """Harmonic mean of precision and recall over the words two answers share, after normalisation.

    Two answers of no words share nothing in SQuAD 1.1 and MLQA, and everything in SQuAD 2.0, where questions may have
    no answer (`may_be_empty`).
    """
    gold_words, predicted_words = normalise(gold).split(), normalise(predicted).split()
    if not gold_words or not predicted_words:
        return float(may_be_empty and gold_words == predicted_words)
    shared = sum((Counter(gold_words) & Counter(predicted_words)).values())
    return 2.0 * shared / (len(gold_words) + len(predicted_words))


def best_answer(
    accepted: Sequence[str], predicted: str, normalise: Normalise = normalised, *, may_be_empty: bool = False
) -> tuple[str, float, bool]:
    """The accepted answer nearest to the predicted one, the highest F1 and whether any accepted answer matches."""
    scored = [(token_f1(answer, predicted, normalise, may_be_empty=may_be_empty), answer) for answer in accepted]
    f1, nearest = max(scored, key=lambda pair: pair[0])
    return nearest, f1, any(exact_match(answer, predicted, normalise) for answer in accepted)


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """F1 over whole entities of BIO tags, over all sentences at once, as `seqeval.metrics.f1_score` gives it."""
    from seqeval.metrics import f1_score  # takes scikit-learn along, which nothing else here needs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of tags without B and I, and of 0 / 0
        value = f1_score([list(row) for row in gold], [list(row) for row in predicted])
    assert not isinstance(value, list)  # it gives one for each type only where it is asked for them
    return float(value)


def tag_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """XTREME's F1 of parts of speech: seqeval over plain tags, where neighbours with the same tag are one entity.

    seqeval 0.0.12, which the benchmark was made with, took the whole of a tag without a hyphen for its type; 1.0 and
    later take all but its first letter, so that CCONJ and SCONJ become one type. A hyphen is put in to keep the
    benchmark's numbers.
    """
    return entity_f1(
        [[f"{tag[0]}-{tag}" for tag in row] for row in gold], [[f"{tag[0]}-{tag}" for tag in row] for row in predicted]
    )


Pair = tuple[str, str]


def pair_f1(gold: Iterable[Pair], predicted: Iterable[Pair]) -> float:
    """F1 of a set of sentence pairs (BUCC 2018); 0 where none is right."""
    wanted, found = set(gold), set(predicted)
    right = len(wanted & found)
    return 2.0 * right / (len(wanted) + len(found)) if right else 0.0


def best_threshold(scores: Mapping[Pair, float], gold: Iterable[Pair]) -> float:
    """The score from which on mined pairs are kept, where F1 against the gold pairs is highest: half-way to the next.

    Source: `bucc_optimize` of LASER and XTREME. The highest score of all where no pair is right.
    """
    wanted = set(gold)
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    threshold, best, right = (ordered[0][1] if ordered else 0.0), 0.0, 0
    for place, (pair, score) in enumerate(ordered):
        right += pair in wanted
        f1 = 2.0 * right / (len(wanted) + place + 1)
        if f1 > best:
            best = f1
            threshold = (score + ordered[place + 1][1]) / 2 if place + 1 < len(ordered) else score
    return threshold
