"""The columns of every data set that rows become batches from; knows nothing of where the rows come from.

One row is one example in one language. `id` is equal across languages when the same example is asked in several.
"""

import pyarrow as pa

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An encoded image (PNG or JPEG) in `bytes` or, where they are null, in the file at `path`; null for no image."""


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings, also where equal ones are stored once."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold encoded images: binary, or a struct whose `bytes` are."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


PAIR = _schema(
    id=pa.string(),
    language=pa.string(),
    premise=pa.string(),
    hypothesis=pa.string(),
    label=pa.int64(),
)

IMAGE_TEXT = _schema(
    id=pa.string(),
    language=pa.string(),
    image=IMAGE_TYPE,
    hypothesis=pa.string(),
    label=pa.int64(),
)

# A null label of an image-text row is an item without a gold label.

# `answer_start` counts characters of `context`; an unanswerable question has "" and -1, and -1 is also the place of an
# answer that stands nowhere in it: its text is scored, and nothing learned of it.
SPAN = _schema(
    id=pa.string(),
    language=pa.string(),
    context=pa.string(),
    question=pa.string(),
    answer_text=pa.string(),
    answer_start=pa.int64(),
)

# What a span table may have beside: every accepted answer of a question, the first of them in `answer_text`.
ANSWERS = pa.field("answers", pa.list_(pa.string()))

# One tag per token, as its place among the task's labels.
TAGGING = _schema(
    id=pa.string(),
    language=pa.string(),
    tokens=pa.list_(pa.string()),
    tags=pa.list_(pa.int64()),
)

# Sentences of a language and of English, to be paired. `match` is the id of the English sentence that one of the other
# language is a translation of, or "" where it is of none.
RETRIEVAL = _schema(
    id=pa.string(),
    language=pa.string(),
    is_english=pa.bool_(),
    text=pa.string(),
    match=pa.string(),
)

# `label` is the index of the right one among `endings`.
CHOICE = _schema(
    id=pa.string(),
    language=pa.string(),
    context=pa.string(),
    endings=pa.list_(pa.string()),
    label=pa.int64(),
)

CAPTION = _schema(
    id=pa.string(),
    language=pa.string(),
    image=IMAGE_TYPE,
    caption=pa.string(),
)

PARALLEL = _schema(
    id=pa.string(),
    source_language=pa.string(),
    source=pa.string(),
    target_language=pa.string(),
    target=pa.string(),
)
