"""The lab's twins of the nine intermediate tasks and of the nine XTREME targets, as constants; generates nothing.

Some have been there from the beginning (`trainables.catalogue.lab`); a target's name is that of its twin after `lab_`.
"""

from __future__ import annotations

from trainables.catalogue.lab import ENGLISH, HELLASWAG, LANGUAGES, NLI, QQP, SQUAD, WORLD_VERSION
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, Metric, Split, Task

#: Rows of an intermediate twin's training, and of each language of a target's test.
TRAIN, TARGET_TRAIN, DEV, TEST = 16_000, 2_000, 300, 500

#: What retrieval pairs with English.
OTHER_LANGUAGES = tuple(language for language in LANGUAGES if language != "en")

UPOS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())
ENTITY_TAGS = ("O", "B-BIG", "I-BIG", "B-SMALL", "I-SMALL", "B-PLACE", "I-PLACE")

#: What a word is (size, colour, noun, place, number, joining word, comma) and what comes after it.
SUPERTAGS = tuple(f"{word}/{after}" for word in "CNPQSF," for after in "CNPQS.")


def _made(name: str, generator: str, kind: Kind, splits: tuple[Split, ...], twin_of: str, **more: object) -> Task:
    return Task(
        name=name,
        kind=kind,
        splits=splits,
        source=LabSource(generator=generator, version=WORLD_VERSION),
        licence="Apache-2.0",
        twin_of=twin_of,
        **more,  # type: ignore[arg-type]
    )


def _english(train: int = TRAIN) -> tuple[Split, ...]:
    return (
        Split(name="train", languages=ENGLISH, rows=train),
        Split(name="dev", languages=ENGLISH, rows=DEV),
    )


def _test(languages: tuple[str, ...] = LANGUAGES) -> Split:
    return Split(name="test", languages=languages, rows=TEST)


ANLI_PLUS = _made("lab_anli_plus", "anli_plus", Kind.PAIR, _english(), "anli_plus", labels=NLI_LABELS)
SQUAD_V2 = _made("lab_squad_v2", "squad_v2", Kind.SPAN, _english(), "squad_v2", unanswerable=True)
CCG = _made("lab_ccg", "ccg", Kind.TAGGING, _english(), "ccg", labels=SUPERTAGS)
COSMOS_QA = _made("lab_cosmos_qa", "cosmos_qa", Kind.CHOICE, _english(), "cosmos_qa")
COMMONSENSE_QA = _made("lab_commonsense_qa", "commonsense_qa", Kind.CHOICE, _english(), "commonsense_qa")

INTERMEDIATE = (ANLI_PLUS, NLI, QQP, SQUAD, SQUAD_V2, HELLASWAG, CCG, COSMOS_QA, COMMONSENSE_QA)

#: What the twins of XQuAD and MLQA are learned from: questions that can be asked in every language.
QUESTIONS = _made("lab_questions", "questions", Kind.SPAN, _english(), "")

XNLI = _made("lab_xnli", "nli", Kind.PAIR, (_test(),), "xnli", labels=NLI_LABELS, learned_from=NLI)
PAWSX = _made("lab_pawsx", "pawsx", Kind.PAIR, (*_english(), _test()), "pawsx", labels=("different", "same"))
POS = _made(
    "lab_udpos",
    "udpos",
    Kind.TAGGING,
    (*_english(TARGET_TRAIN), _test()),
    "udpos",
    labels=UPOS,
    metric=Metric.TAGS,
)
NER = _made(
    "lab_panx",
    "panx",
    Kind.TAGGING,
    (*_english(TARGET_TRAIN), _test()),
    "panx",
    labels=ENTITY_TAGS,
    metric=Metric.ENTITIES,
)
XQUAD = _made("lab_xquad", "questions", Kind.SPAN, (_test(),), "xquad", learned_from=QUESTIONS)
MLQA = _made("lab_mlqa", "mlqa", Kind.SPAN, (_test(),), "mlqa", metric=Metric.MLQA, learned_from=QUESTIONS)
TYDIQA = _made("lab_tydiqa", "tydiqa", Kind.SPAN, (*_english(TARGET_TRAIN), _test()), "tydiqa")
BUCC = _made(
    "lab_bucc",
    "bucc",
    Kind.RETRIEVAL,
    (Split(name="dev", languages=OTHER_LANGUAGES, rows=TEST), _test(OTHER_LANGUAGES)),
    "bucc2018",
    metric=Metric.MINING,
)
TATOEBA = _made("lab_tatoeba", "tatoeba", Kind.RETRIEVAL, (_test(OTHER_LANGUAGES),), "tatoeba")

TARGETS = (XNLI, PAWSX, POS, NER, XQUAD, MLQA, TYDIQA, BUCC, TATOEBA)

#: Those that the lab had not from the beginning.
TASKS = (ANLI_PLUS, SQUAD_V2, CCG, COSMOS_QA, COMMONSENSE_QA, QUESTIONS, *TARGETS)
