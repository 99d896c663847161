"""The nine intermediate tasks of Phang et al. 2020, as constants; reads none of them.

Sizes, columns and labels as their publishers state them. The files are looked for as `trainables.data.places` says.
"""

from __future__ import annotations

from trainables.catalogue.task import NLI_LABELS, Kind, Layout, Part, PublishedSource, Shaping, Split, Task

#: Commits of repositories of the hub, as others pin them in public code for the configurations that are read here; that
#: of google/xtreme was found for MLQA alone, and not for the other five that are read of it.
REVISIONS = {
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "facebook/anli": "8e4813d81f46d313dac7892e1c28076917cfcdf9",
    "stanfordnlp/snli": "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
    "rajpurkar/squad": "7b6d24c440a36b6815f21b70d25016731768db1f",
    "rajpurkar/squad_v2": "3ffb306f725f7d2ce8394bc1873b24868140c412",
    "Rowan/hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    "tau/commonsense_qa": "94630fe30dad47192a8546eb75f094926d47e155",
    "google/xtreme": "ec5f1f46e9af79639a90684a7a70a956c4998f04",
    "google-research-datasets/paws-x": "4cd8187c404bda33cb1f62b49b001115862acf37",
    "google-research-datasets/tydiqa": "da78f23f9119363459acbaf46bf89426ff26c259",
}

#: The integers of MNLI, XNLI, SNLI and ANLI on the hub. IGLUE and CCLM number their labels otherwise.
NLI_CODES = (("0", "entailment"), ("1", "neutral"), ("2", "contradiction"))

PAIR_COLUMNS = (("premise", "string"), ("hypothesis", "string"), ("label", "integer"))
QUESTION_COLUMNS = (("id", "string"), ("context", "string"), ("question", "string"), ("answers", "answers"))

ENGLISH = ("en",)


def pins(*parts: Part) -> tuple[tuple[str, str], ...]:
    """(repository, commit) of the repositories that are pinned."""
    return tuple((name, REVISIONS[name]) for name in sorted({part.repository for part in parts}) if name in REVISIONS)


def english_splits(parts: tuple[Part, ...]) -> tuple[Split, ...]:
    """The splits of English parts, with the rows of their parts added up."""
    rows: dict[str, int] = {}
    for part in parts:
        rows[part.split] = rows.get(part.split, 0) + part.rows
    return tuple(Split(name=name, languages=ENGLISH, rows=count) for name, count in rows.items())


def _english(split: str, repository: str, config: str, origin: str, rows: int, layout: Layout = Layout.HUB) -> Part:
    return Part(
        split=split, language="en", repository=repository, config=config, origin=origin, rows=rows, layout=layout
    )


def _two(repository: str, config: str, train: int, dev: int, layout: Layout = Layout.HUB) -> tuple[Part, ...]:
    """Training, and development from what the publisher calls validation."""
    return (
        _english("train", repository, config, "train", train, layout),
        _english("dev", repository, config, "valid" if layout is Layout.COSMOS_QA else "validation", dev, layout),
    )


_MNLI_TRAIN = _english("train", "nyu-mll/glue", "mnli", "train", 392_702)
_MNLI = (_MNLI_TRAIN, _english("dev", "nyu-mll/glue", "mnli", "validation_matched", 9_815))

MNLI = Task(
    name="mnli",
    kind=Kind.PAIR,
    labels=NLI_LABELS,
    splits=english_splits(_MNLI),
    source=PublishedSource(
        shaping=Shaping.PAIR,
        parts=_MNLI,
        columns=PAIR_COLUMNS,
        codes=NLI_CODES,
        unlabelled=("-1",),
        revisions=pins(*_MNLI),
    ),
    licence="other (OANC and others)",
)

_ANLI_PLUS = (
    _MNLI_TRAIN,
    _english("train", "stanfordnlp/snli", "plain_text", "train", 549_367),
    _english("train", "facebook/anli", "plain_text", "train_r1", 16_946),
    _english("train", "facebook/anli", "plain_text", "train_r2", 45_460),
    _english("train", "facebook/anli", "plain_text", "train_r3", 100_459),
    _english("dev", "facebook/anli", "plain_text", "dev_r1", 1_000),
    _english("dev", "facebook/anli", "plain_text", "dev_r2", 1_000),
    _english("dev", "facebook/anli", "plain_text", "dev_r3", 1_200),
)

#: ANLI, MNLI and SNLI together, judged on ANLI's development sets.
ANLI_PLUS = Task(
    name="anli_plus",
    kind=Kind.PAIR,
    labels=NLI_LABELS,
    splits=english_splits(_ANLI_PLUS),
    source=PublishedSource(
        shaping=Shaping.PAIR,
        parts=_ANLI_PLUS,
        columns=PAIR_COLUMNS,
        codes=NLI_CODES,
        unlabelled=("-1",),
        revisions=pins(*_ANLI_PLUS),
    ),
    licence="CC BY-NC 4.0 (ANLI), CC BY-SA 4.0 (SNLI), other (MNLI)",
)

_QQP = _two("nyu-mll/glue", "qqp", 363_846, 40_430)

QQP = Task(
    name="qqp",
    kind=Kind.PAIR,
    labels=("not_duplicate", "duplicate"),
    splits=english_splits(_QQP),
    source=PublishedSource(
        shaping=Shaping.PAIR,
        parts=_QQP,
        columns=(("question1", "string"), ("question2", "string"), ("label", "integer")),
        fields=(("premise", "question1"), ("hypothesis", "question2")),
        codes=(("0", "not_duplicate"), ("1", "duplicate")),
        unlabelled=("-1",),
        revisions=pins(*_QQP),
    ),
    licence="other (Quora's terms)",
)

_SQUAD_V1 = _two("rajpurkar/squad", "plain_text", 87_599, 10_570)

SQUAD_V1 = Task(
    name="squad_v1",
    kind=Kind.SPAN,
    splits=english_splits(_SQUAD_V1),
    source=PublishedSource(
        shaping=Shaping.QUESTION, parts=_SQUAD_V1, columns=QUESTION_COLUMNS, revisions=pins(*_SQUAD_V1)
    ),
    licence="CC BY-SA 4.0",
)

_SQUAD_V2 = _two("rajpurkar/squad_v2", "squad_v2", 130_319, 11_873)

SQUAD_V2 = Task(
    name="squad_v2",
    kind=Kind.SPAN,
    splits=english_splits(_SQUAD_V2),
    source=PublishedSource(
        shaping=Shaping.QUESTION, parts=_SQUAD_V2, columns=QUESTION_COLUMNS, revisions=pins(*_SQUAD_V2)
    ),
    licence="CC BY-SA 4.0",
    unanswerable=True,
)

_HELLASWAG = _two("Rowan/hellaswag", "default", 39_905, 10_042)

#: Its labels are strings, and empty in its test split.
HELLASWAG = Task(
    name="hellaswag",
    kind=Kind.CHOICE,
    splits=english_splits(_HELLASWAG),
    source=PublishedSource(
        shaping=Shaping.ENDINGS,
        parts=_HELLASWAG,
        columns=(("ctx", "string"), ("endings", "strings"), ("label", "string")),
        codes=tuple((str(number), str(number)) for number in range(4)),
        unlabelled=("",),
        revisions=pins(*_HELLASWAG),
    ),
    licence="MIT",
)

_COSMOS_QA = _two("wilburOne/cosmosqa", "data", 25_262, 2_985, Layout.COSMOS_QA)

#: The hub has it only behind a loading script, which no current client runs: the files of its authors are read.
COSMOS_QA = Task(
    name="cosmos_qa",
    kind=Kind.CHOICE,
    splits=english_splits(_COSMOS_QA),
    source=PublishedSource(
        shaping=Shaping.COSMOS_QA,
        parts=_COSMOS_QA,
        columns=(
            *(("id", "string"), ("context", "string"), ("question", "string")),
            *((f"answer{number}", "string") for number in range(4)),
            ("label", "integer"),
        ),
        codes=tuple((str(number), str(number)) for number in range(4)),
        unlabelled=("-1",),
    ),
    licence="CC BY 4.0",
)

_COMMONSENSE_QA = _two("tau/commonsense_qa", "default", 9_741, 1_221)

COMMONSENSE_QA = Task(
    name="commonsense_qa",
    kind=Kind.CHOICE,
    splits=english_splits(_COMMONSENSE_QA),
    source=PublishedSource(
        shaping=Shaping.LETTERED,
        parts=_COMMONSENSE_QA,
        columns=(("id", "string"), ("question", "string"), ("choices", "choices"), ("answerKey", "string")),
        codes=tuple((letter, str(number)) for number, letter in enumerate("ABCDE")),
        unlabelled=("",),
        revisions=pins(*_COMMONSENSE_QA),
    ),
    licence="MIT",
)

#: Sections of the Wall Street Journal as supertaggers divide them (Clark and Curran 2007).
CCG_TRAIN, CCG_DEV = tuple(f"{section:02d}" for section in range(2, 22)), ("00",)

_CCG = (
    *(_english("train", "LDC2005T13", "AUTO", section, 0, Layout.CCGBANK) for section in CCG_TRAIN),
    *(_english("dev", "LDC2005T13", "AUTO", section, 0, Layout.CCGBANK) for section in CCG_DEV),
)

#: Supertags seen less often than this in training are one label, as in Clark and Curran's 425 categories.
CCG_LEAST = 10
CCG_REST = "other"

#: No open copy of CCGbank exists. Its labels are those that the training sections hold, taken when they are found.
#: The sizes are rounded recollections of others; the bank itself is what counts once it is there.
CCG = Task(
    name="ccg",
    kind=Kind.TAGGING,
    splits=(Split(name="train", languages=ENGLISH, rows=39_600), Split(name="dev", languages=ENGLISH, rows=1_900)),
    source=PublishedSource(shaping=Shaping.SUPERTAGS, parts=_CCG, columns=(("tokens", "strings"), ("tags", "strings"))),
    licence="LDC user agreement",
)

INTERMEDIATE = (ANLI_PLUS, MNLI, QQP, SQUAD_V1, SQUAD_V2, HELLASWAG, CCG, COSMOS_QA, COMMONSENSE_QA)
