"""The nine target tasks of XTREME, as constants; reads none of them.

Languages as jiant and the benchmark's evaluator list them, metrics as the evaluator computes them.
"""

from __future__ import annotations

from trainables.catalogue.intermediate import (
    MNLI,
    NLI_CODES,
    PAIR_COLUMNS,
    QUESTION_COLUMNS,
    SQUAD_V1,
    pins,
)
from trainables.catalogue.task import (
    NLI_LABELS,
    Kind,
    Layout,
    Metric,
    Part,
    PublishedSource,
    Shaping,
    Split,
    Task,
)

ENGLISH = ("en",)

XNLI_LANGUAGES = tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split())
PAWSX_LANGUAGES = tuple("de en es fr ja ko zh".split())
XQUAD_LANGUAGES = tuple("ar de el en es hi ru th tr vi zh".split())

#: Test questions of MLQA whose context and question are in the same language.
MLQA_ROWS = {"ar": 5335, "de": 4517, "en": 11590, "es": 5253, "hi": 4918, "vi": 5495, "zh": 5137}

#: Validation questions of TyDiQA's gold passage task; 5,077 together, as published.
TYDIQA_ROWS = {
    **{"ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565},
    **{"ko": 276, "ru": 812, "sw": 499, "te": 669},
}

#: Training questions of the same task; 49,881 together, as published, those of single languages by memory: a run tells
#: where files hold others.
TYDIQA_TRAINING_ROWS = {
    **{"ar": 14_805, "bn": 2_390, "en": 3_696, "fi": 6_855, "id": 5_702},
    **{"ko": 1_625, "ru": 6_490, "sw": 2_755, "te": 5_563},
}

#: The beginning of a question's id in TyDiQA, which alone says the language.
TYDIQA_NAMES = {
    **{"ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian"},
    **{"ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu"},
}

PANX_LANGUAGES = tuple(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi "
    "yo zh".split()
)

#: Training sentences of PAN-X where they are not 20,000, as the card of google/xtreme states them.
PANX_TRAINING_ROWS = {
    **dict.fromkeys(("et", "ta"), 15_000),
    **dict.fromkeys(("bn", "eu", "ka", "ml", "tl"), 10_000),
    **dict.fromkeys(("af", "hi", "mr"), 5_000),
    **dict.fromkeys(("kk", "sw", "te"), 1_000),
    **dict.fromkeys(("jv", "my", "yo"), 100),
}
PANX_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")

#: XTREME's names of the treebanks' languages.
UDPOS_NAMES = {
    **{"af": "Afrikaans", "ar": "Arabic", "bg": "Bulgarian", "de": "German", "el": "Greek", "en": "English"},
    **{"es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French"},
    **{"he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese"},
    **{"kk": "Kazakh", "ko": "Korean", "mr": "Marathi", "nl": "Dutch", "pt": "Portuguese", "ru": "Russian"},
    **{"ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "ur": "Urdu"},
    **{"vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese"},
}

#: Training sentences of the treebanks, as the card of google/xtreme states them; Tagalog, Thai and Yoruba have none.
UDPOS_TRAINING_ROWS = {
    **{"af": 1_315, "ar": 6_075, "bg": 8_907, "de": 166_849, "el": 28_152, "en": 21_253, "es": 28_492, "et": 25_749},
    **{"eu": 5_396, "fa": 4_798, "fi": 27_198, "fr": 47_308, "he": 5_241, "hi": 13_304, "hu": 910, "id": 4_477},
    **{"it": 29_685, "ja": 7_125, "kk": 31, "ko": 27_410, "mr": 373, "nl": 18_051, "pt": 17_992, "ru": 67_435},
    **{"ta": 400, "te": 1_051, "tr": 3_664, "ur": 4_043, "vi": 1_400, "zh": 18_998},
}
UPOS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())

BUCC_LANGUAGES = ("de", "fr", "ru", "zh")

#: ISO 639-3 codes of Tatoeba's files.
TATOEBA_CODES = {
    **{"af": "afr", "ar": "ara", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "es": "spa", "et": "est"},
    **{"eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin", "hu": "hun", "id": "ind"},
    **{"it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz", "ko": "kor", "ml": "mal", "mr": "mar"},
    **{"nl": "nld", "pt": "por", "ru": "rus", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl"},
    **{"tr": "tur", "ur": "urd", "vi": "vie", "zh": "cmn"},
}

#: Pairs of a language; 1,000 where none is stated.
TATOEBA_ROWS = {"jv": 205, "ka": 746, "kk": 575, "ml": 687, "sw": 390, "ta": 307, "te": 234, "th": 548}


def _parts(
    languages: tuple[str, ...], split: str, repository: str, config: str, origin: str, rows: dict[str, int] | int
) -> tuple[Part, ...]:
    """A part per language; `{}` in the config stands for it."""
    return tuple(
        Part(
            split=split,
            language=language,
            repository=repository,
            config=config.format(language),
            origin=origin,
            rows=rows if isinstance(rows, int) else rows[language],
        )
        for language in languages
    )


def _mean(rows: dict[str, int]) -> int:
    return round(sum(rows.values()) / len(rows))


_XNLI = _parts(XNLI_LANGUAGES, "test", "facebook/xnli", "{}", "test", 5_010)

#: Learned from MNLI, whose English training set is XNLI's own.
XNLI = Task(
    name="xnli",
    kind=Kind.PAIR,
    labels=NLI_LABELS,
    splits=(Split(name="test", languages=XNLI_LANGUAGES, rows=5_010),),
    source=PublishedSource(
        shaping=Shaping.PAIR,
        parts=_XNLI,
        columns=PAIR_COLUMNS,
        codes=NLI_CODES,
        revisions=(("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e"),),
    ),
    licence="CC BY-NC 4.0",
    learned_from=MNLI,
)

_PAWSX_REPOSITORY = "google-research-datasets/paws-x"
_PAWSX = (
    *_parts(ENGLISH, "train", _PAWSX_REPOSITORY, "{}", "train", 49_401),
    *_parts(ENGLISH, "dev", _PAWSX_REPOSITORY, "{}", "validation", 2_000),
    *_parts(PAWSX_LANGUAGES, "test", _PAWSX_REPOSITORY, "{}", "test", 2_000),
)

PAWSX = Task(
    name="pawsx",
    kind=Kind.PAIR,
    labels=("different", "same"),
    splits=(
        Split(name="train", languages=ENGLISH, rows=49_401),
        Split(name="dev", languages=ENGLISH, rows=2_000),
        Split(name="test", languages=PAWSX_LANGUAGES, rows=2_000),
    ),
    source=PublishedSource(
        shaping=Shaping.PAIR,
        parts=_PAWSX,
        columns=(("id", "integer"), ("sentence1", "string"), ("sentence2", "string"), ("label", "integer")),
        fields=(("id", "id"), ("premise", "sentence1"), ("hypothesis", "sentence2")),
        codes=(("0", "different"), ("1", "same")),
        revisions=pins(*_PAWSX),
    ),
    licence="free for any purpose, as its owner states",
)

_UDPOS = tuple(
    Part(split=split, language=language, repository="google/xtreme", config=f"udpos.{name}", origin=origin, rows=rows)
    for split, origin, names, rows in (
        ("train", "train", {"en": UDPOS_NAMES["en"]}, 21_253),
        ("dev", "validation", {"en": UDPOS_NAMES["en"]}, 3_974),
        ("test", "test", UDPOS_NAMES, 0),
    )
    for language, name in names.items()
)

POS = Task(
    name="udpos",
    kind=Kind.TAGGING,
    labels=UPOS,
    splits=(
        Split(name="train", languages=ENGLISH, rows=21_253),
        Split(name="dev", languages=ENGLISH, rows=3_974),
        Split(name="test", languages=tuple(UDPOS_NAMES)),
    ),
    source=PublishedSource(
        shaping=Shaping.TAGS,
        parts=_UDPOS,
        columns=(("tokens", "strings"), ("pos_tags", "tags")),
        fields=(("tags", "pos_tags"),),
        revisions=pins(*_UDPOS),
    ),
    licence="the licence of each treebank",
    metric=Metric.TAGS,
)

_PANX = (
    *_parts(ENGLISH, "train", "google/xtreme", "PAN-X.{}", "train", 20_000),
    *_parts(ENGLISH, "dev", "google/xtreme", "PAN-X.{}", "validation", 10_000),
    *_parts(PANX_LANGUAGES, "test", "google/xtreme", "PAN-X.{}", "test", 0),
)

NER = Task(
    name="panx",
    kind=Kind.TAGGING,
    labels=PANX_TAGS,
    splits=(
        Split(name="train", languages=ENGLISH, rows=20_000),
        Split(name="dev", languages=ENGLISH, rows=10_000),
        Split(name="test", languages=PANX_LANGUAGES),
    ),
    source=PublishedSource(
        shaping=Shaping.TAGS,
        parts=_PANX,
        columns=(("tokens", "strings"), ("ner_tags", "tags")),
        fields=(("tags", "ner_tags"),),
        revisions=pins(*_PANX),
    ),
    licence="unknown (WikiAnn)",
    metric=Metric.ENTITIES,
)

_XQUAD = _parts(XQUAD_LANGUAGES, "test", "google/xtreme", "XQuAD.{}", "validation", 1_190)

#: Questions in the languages of XNLI but four, learned from SQuAD; the one split that exists is scored as the test.
XQUAD = Task(
    name="xquad",
    kind=Kind.SPAN,
    splits=(Split(name="test", languages=XQUAD_LANGUAGES, rows=1_190),),
    source=PublishedSource(
        shaping=Shaping.QUESTION,
        parts=_XQUAD,
        columns=QUESTION_COLUMNS,
        revisions=pins(*_XQUAD),
        instead=tuple(
            Part(
                split="test",
                language=language,
                repository="deepmind/xquad",
                config=language,
                origin="validation",
                rows=1_190,
                layout=Layout.XQUAD,
            )
            for language in XQUAD_LANGUAGES
        ),
    ),
    licence="CC BY-SA 4.0",
    learned_from=SQUAD_V1,
)

_MLQA = _parts(tuple(MLQA_ROWS), "test", "google/xtreme", "MLQA.{0}.{0}", "test", MLQA_ROWS)

#: The configurations whose context and question share a language, as XTREME scores them; learned from SQuAD.
MLQA = Task(
    name="mlqa",
    kind=Kind.SPAN,
    splits=(Split(name="test", languages=tuple(MLQA_ROWS), rows=_mean(MLQA_ROWS)),),
    source=PublishedSource(
        shaping=Shaping.QUESTION,
        parts=_MLQA,
        columns=QUESTION_COLUMNS,
        revisions=pins(*_MLQA),
    ),
    licence="CC BY-SA 3.0",
    metric=Metric.MLQA,
    learned_from=SQUAD_V1,
)

_TYDIQA_REPOSITORY = "google-research-datasets/tydiqa"
_TYDIQA = (
    *_parts(ENGLISH, "train", _TYDIQA_REPOSITORY, "secondary_task", "train", 3_696),
    *_parts(tuple(TYDIQA_ROWS), "test", _TYDIQA_REPOSITORY, "secondary_task", "validation", TYDIQA_ROWS),
    *_parts(ENGLISH, "dev", "rajpurkar/squad", "plain_text", "validation", 10_570),
)

#: All languages are in one file, named by the beginning of the id. It has no development set beside the one that is
#: scored, so SQuAD's stands in: the same questions about passages, and no label of the test.
TYDIQA = Task(
    name="tydiqa",
    kind=Kind.SPAN,
    splits=(
        Split(name="train", languages=ENGLISH, rows=3_696),
        Split(name="dev", languages=ENGLISH, rows=10_570),
        Split(name="test", languages=tuple(TYDIQA_ROWS), rows=_mean(TYDIQA_ROWS)),
    ),
    source=PublishedSource(
        shaping=Shaping.QUESTION,
        parts=_TYDIQA,
        columns=QUESTION_COLUMNS,
        fields=tuple((f"language.{code}", name) for code, name in TYDIQA_NAMES.items()),
        revisions=pins(*_TYDIQA),
    ),
    licence="Apache-2.0",
)

_BUCC_ALIGNED = (
    *_parts(BUCC_LANGUAGES, "dev", "google/xtreme", "bucc18.{}", "validation", 0),
    *_parts(BUCC_LANGUAGES, "test", "google/xtreme", "bucc18.{}", "test", 0),
)
_BUCC_COLUMNS = (("source_sentence", "string"), ("target_sentence", "string"))

#: The shared task's files: the sample tunes the threshold, the training set is scored, as in XTREME. The hub has its
#: gold pairs alone; with them the score is another one and has another name.
BUCC = Task(
    name="bucc2018",
    kind=Kind.RETRIEVAL,
    splits=(Split(name="dev", languages=BUCC_LANGUAGES), Split(name="test", languages=BUCC_LANGUAGES)),
    source=PublishedSource(
        shaping=Shaping.MINED,
        parts=tuple(
            Part(
                split=split,
                language=language,
                repository="bucc2018",
                config=language,
                origin=origin,
                layout=Layout.BUCC,
            )
            for split, origin in (("dev", "sample"), ("test", "training"))
            for language in BUCC_LANGUAGES
        ),
        columns=_BUCC_COLUMNS,
        instead=_BUCC_ALIGNED,
        revisions=pins(*_BUCC_ALIGNED),
    ),
    licence="research only",
    metric=Metric.MINING,
)

_TATOEBA = tuple(
    Part(
        split="test",
        language=language,
        repository="google/xtreme",
        config=f"tatoeba.{code}",
        origin="validation",
        rows=TATOEBA_ROWS.get(language, 1_000),
    )
    for language, code in TATOEBA_CODES.items()
)

TATOEBA = Task(
    name="tatoeba",
    kind=Kind.RETRIEVAL,
    splits=(
        Split(
            name="test",
            languages=tuple(TATOEBA_CODES),
            rows=_mean({code: TATOEBA_ROWS.get(code, 1_000) for code in TATOEBA_CODES}),
        ),
    ),
    source=PublishedSource(
        shaping=Shaping.TRANSLATIONS,
        parts=_TATOEBA,
        columns=_BUCC_COLUMNS,
        revisions=pins(*_TATOEBA),
        instead=tuple(
            Part(
                split="test",
                language=language,
                repository="facebookresearch/LASER",
                config=code,
                origin="test",
                rows=TATOEBA_ROWS.get(language, 1_000),
                layout=Layout.LASER,
            )
            for language, code in TATOEBA_CODES.items()
        ),
    ),
    licence="CC BY 2.0 FR",
    metric=Metric.RETRIEVAL,
)

TARGETS = (XNLI, PAWSX, POS, NER, XQUAD, MLQA, TYDIQA, BUCC, TATOEBA)
