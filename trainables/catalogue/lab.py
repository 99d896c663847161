"""The lab's tasks and encoder, as constants; generates nothing.

The lab is an instrument: its numbers say whether the system works, and nothing about the world.
"""

from __future__ import annotations

from trainables.catalogue.encoder import Encoder, Patches, PlantedAlignment, SmallEncoder
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, Split, Task

#: Raised when the lab's code changes an example that it makes.
WORLD_VERSION = 1

#: How far the words of each language start from the English ones, relative to the norm of a word vector: five graded
#: groups, and one language whose words have nothing to do with the others' and are never seen before the test.
ALIGNMENT_GROUPS: dict[str, tuple[float, tuple[str, ...]]] = {
    "closest": (0.1, ("de", "es", "fr")),
    "near": (0.4, ("bg", "el", "ru")),
    "middle": (0.7, ("ar", "hi", "ur")),
    "far": (1.0, ("vi", "zh")),
    "farthest": (2.0, ("th", "tr")),
}
UNALIGNED = ("sw",)

#: The groups whose mean accuracy the lab promises.
WELL_ALIGNED = ("en", *ALIGNMENT_GROUPS["closest"][1], *ALIGNMENT_GROUPS["near"][1])

LANGUAGES = tuple(sorted(["en", *UNALIGNED, *(code for _, codes in ALIGNMENT_GROUPS.values() for code in codes)]))

ALIGNMENT = PlantedAlignment(
    distance=(("en", 0.0), *sorted((code, far) for far, codes in ALIGNMENT_GROUPS.values() for code in codes)),
    unaligned=UNALIGNED,
)

#: One patch of 12 pixels is one cell of the drawn scene.
ENCODER = Encoder(
    name="lab_small",
    text=SmallEncoder(layers=3, width=96, heads=4, feed_forward=384, positions=96, alignment=ALIGNMENT),
    patches=Patches(height=36, width=36, patch=12, hidden=192),
    maximum_tokens=64,
    restart_positions=True,
    level_patches=True,
)

ENGLISH = ("en",)


def _splits(train: int, dev: int, test: int, test_languages: tuple[str, ...] = ENGLISH) -> tuple[Split, ...]:
    return (
        Split(name="train", languages=ENGLISH, rows=train),
        Split(name="dev", languages=ENGLISH, rows=dev),
        Split(name="test", languages=test_languages, rows=test),
    )


def _task(name: str, generator: str, kind: Kind, splits: tuple[Split, ...], **more: object) -> Task:
    return Task(
        name=name,
        kind=kind,
        splits=splits,
        source=LabSource(generator=generator, version=WORLD_VERSION),
        licence="Apache-2.0",
        **more,  # type: ignore[arg-type]
    )


def visual_nli(*, train: int = 300, dev: int = 300, test: int = 300) -> Task:
    """XTREME-M of the lab: images and hypotheses, English for training and development, all languages for the test.

    The numbers are rows of each language. A small training set is what leaves room for transfer.
    """
    splits = _splits(train, dev, test, LANGUAGES)
    return _task("lab_visual_nli", "visual_nli", Kind.IMAGE_TEXT, splits, labels=NLI_LABELS)


VISUAL_NLI = visual_nli()
NLI = _task("lab_nli", "nli", Kind.PAIR, _splits(16_000, 300, 300), labels=NLI_LABELS, twin_of="mnli")
QQP = _task(
    "lab_qqp", "qqp", Kind.PAIR, _splits(16_000, 300, 300), labels=("not_duplicate", "duplicate"), twin_of="qqp"
)
SQUAD = _task("lab_squad", "squad", Kind.SPAN, _splits(16_000, 300, 300), twin_of="squad_v1")
HELLASWAG = _task("lab_hellaswag", "hellaswag", Kind.CHOICE, _splits(10_000, 300, 300), twin_of="hellaswag")
NLI_SHUFFLED = _task("lab_nli_shuffled", "nli_shuffled", Kind.PAIR, _splits(16_000, 300, 300), labels=NLI_LABELS)

#: What `pretrain` reads: two sentences about one scene, in English. Half and half with fourteen languages, 1,600 steps
#: did not teach the encoder to look a word up in the other sentence, in English neither; in English alone 1,200 do, and
#: `TRANSLATIONS` carry it on to the others.
PARALLEL = _task("lab_parallel", "parallel", Kind.MASKED_LM, (Split(name="train", languages=ENGLISH, rows=30_000),))

#: English sentences, each with one in a language that has been pre-trained on: how other languages order their words.
TRANSLATIONS = _task(
    "lab_translations",
    "translations",
    Kind.MASKED_LM,
    (Split(name="train", languages=tuple(code for code in LANGUAGES if code not in UNALIGNED), rows=30_000),),
)

#: Two sentences about one scene, each in any language that has been pre-trained on: where words stand in a description
#: differs by language, and `TRANSLATIONS` have English ones alone. For an encoder that `PARALLEL` taught to look up.
PARALLEL_MANY = _task(
    "lab_parallel_many",
    "parallel",
    Kind.MASKED_LM,
    (Split(name="train", languages=tuple(code for code in LANGUAGES if code not in UNALIGNED), rows=30_000),),
)

#: What masked language modelling beside intermediate tasks reads: text in every language but the unaligned one.
SENTENCES = _task(
    "lab_sentences",
    "sentences",
    Kind.MASKED_LM,
    (Split(name="train", languages=tuple(code for code in LANGUAGES if code not in UNALIGNED), rows=30_000),),
)

#: What `align_words` reads: English words with their translations, as many as the lexicons have. The control split
#: holds other concepts, whose words are in no language trained on.
_WORD_SPLITS = tuple(
    Split(name=name, languages=tuple(code for code in LANGUAGES if code not in ("en", *UNALIGNED)), rows=500)
    for name in ("train", "dev")
)
WORDS = _task("lab_words", "words", Kind.WORDS, _WORD_SPLITS)
WORDS_SHUFFLED = _task("lab_words_shuffled", "words_shuffled", Kind.WORDS, _WORD_SPLITS)

#: What `align_images` reads: images with English texts that are true of them.
CAPTIONS = _task("lab_captions", "captions", Kind.CAPTION, (Split(name="train", languages=ENGLISH, rows=12_000),))
STATEMENTS = _task("lab_statements", "statements", Kind.CAPTION, (Split(name="train", languages=ENGLISH, rows=12_000),))

INTERMEDIATE = (NLI, QQP, SQUAD, HELLASWAG)
TASKS = (
    VISUAL_NLI,
    *INTERMEDIATE,
    NLI_SHUFFLED,
    PARALLEL,
    PARALLEL_MANY,
    TRANSLATIONS,
    CAPTIONS,
    STATEMENTS,
    SENTENCES,
    WORDS,
    WORDS_SHUFFLED,
)
