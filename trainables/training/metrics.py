"""Turning predictions into numbers in 0..1; knows no model."""

from __future__ import annotations

import re
import string
from collections import Counter


def normalised(answer: str) -> str:
    """An answer as SQuAD 1.1 compares it: lower case, without punctuation and English articles, single spaces.

    Source: Rajpurkar et al. 2016, evaluate-v1.1.py; XTREME uses it for every language.
    """
    lowered = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())


def exact_match(gold: str, predicted: str) -> bool:
    """Whether two answers are the same after SQuAD's normalisation."""
    return normalised(gold) == normalised(predicted)


def token_f1(gold: str, predicted: str) -> float:
    """Harmonic mean of precision and recall over the words two answers share, after SQuAD's normalisation.

    Two empty answers share everything by SQuAD 2.0's convention; one empty answer shares nothing.
    """
    gold_words, predicted_words = normalised(gold).split(), normalised(predicted).split()
    if not gold_words or not predicted_words:
        return float(gold_words == predicted_words)
    shared = sum((Counter(gold_words) & Counter(predicted_words)).values())
    return 2.0 * shared / (len(gold_words) + len(predicted_words))
