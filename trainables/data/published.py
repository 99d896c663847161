"""Published files as tables in the schema of their task's kind, checked against the catalogue; finds no file.

Labels are mapped by name: by the label names that the file itself carries, where it does, and otherwise by the codes
that the catalogue states for the publisher's numbers. Of a split in several languages, one whose files cannot be used
is left out with its reason, as one whose files are absent is; the others stay.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainables.catalogue.intermediate import CCG_REST
from trainables.catalogue.task import Kind, Layout, Part, PublishedSource, Shaping, Task
from trainables.data import places
from trainables.data.answers import LEFT_OUT_SHARE, Misplaced, place_of
from trainables.data.raw import RAW, column_faults, first_lines, heads, label_names, lines, null_rows
from trainables.data.schema import ANSWERS, CHOICE, PAIR, RETRIEVAL, SPAN, TAGGING
from trainables.faults import Invalid, refuse

#: At most so many offending rows or values are shown in one fault.
_SHOWN = 3

#: Where the metadata of a table says, as JSON, why languages that its files are there for have no rows.
_LEFT_OUT = b"left out"

#: The same for answers that do not stand where they are said to.
_MISPLACED = b"misplaced answers"

#: Raised when the code here changes what files are read as.
VERSION = 4


def read_published(task: Task, split: str, languages: tuple[str, ...]) -> pa.Table:
    """The rows of a split in those of the languages whose files are here and can be used; `left_out` has the others,
    `misplaced` the answers that stand elsewhere than where they are said to.

    Raises:
        Invalid: naming every fault of the files where none of the languages can be used, or the way to get them where
            none is here.
    """
    source = task.source
    assert isinstance(source, PublishedSource)
    here = places.chosen(source)
    if not here:
        raise Invalid(f"task {task.name!r}", [f"its files must be here, got none; {places.way(task)}"])
    _refuse_changed(task, source)
    tables: list[pa.Table] = []
    wrong: dict[str, list[str]] = {}
    elsewhere: list[Misplaced] = []
    for language in languages:
        parts = here.get((split, language), ())
        read = [_read_part(task, source, part, files) for part, files in parts]
        if faults := [fault for _, found, _ in read for fault in found]:
            wrong[language] = faults
        else:
            tables += [table for table, _, _ in read]
            elsewhere += [told for _, _, told in read if told is not None]
    if not tables:
        refuse(f"task {task.name!r}", (fault for faults in wrong.values() for fault in faults))
        raise Invalid(
            f"task {task.name!r}",
            [f"split {split!r} must be here in one of {' '.join(languages)}, got no file; {places.way(task)}"],
        )
    told = {_LEFT_OUT: wrong, _MISPLACED: [asdict(one) for one in elsewhere]}
    notes = {name: json.dumps(value) for name, value in told.items() if value}
    return pa.concat_tables(tables).replace_schema_metadata(notes or None)


def left_out(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """By language, the faults for which a table that `read_published` made has no rows in it."""
    told = (table.schema.metadata or {}).get(_LEFT_OUT)
    return {language: tuple(faults) for language, faults in json.loads(told).items()} if told else {}


def misplaced(table: pa.Table) -> tuple[Misplaced, ...]:
    """Of a table that `read_published` made, the answers that stand elsewhere than where they are said to."""
    told = (table.schema.metadata or {}).get(_MISPLACED)
    return tuple(Misplaced(**one) for one in json.loads(told)) if told else ()


def _read_part(
    task: Task, source: PublishedSource, part: Part, files: tuple[Path, ...]
) -> tuple[pa.Table, tuple[str, ...], Misplaced | None]:
    """The rows of a part, or whatever where there are faults, and those, and its answers that stand elsewhere."""
    made = _Reading(task, source, part, _where(part, files))
    table = made.table(files)
    return table, (*_missing_files(part, files), *made.faults), made.misplaced


def _where(part: Part, files: tuple[Path, ...]) -> str:
    return f"{part.repository} {part.config} {part.origin} ({files[0].name})"


def _refuse_changed(task: Task, source: PublishedSource) -> None:
    arrived = places.fingerprint(source)
    if source.fingerprint and source.fingerprint != arrived:
        raise Invalid(
            f"task {task.name!r}",
            [
                f"its files must be those that were planned (fingerprint {source.fingerprint}), got {arrived}; "
                "put the files back or plan again"
            ],
        )


def _missing_files(part: Part, files: tuple[Path, ...]) -> list[str]:
    """Whether a split comes in several files of which one is not here."""
    counts = places.file_counts(files)
    if not counts:
        return []
    return [
        f"{part.repository} {part.config} {part.origin} must be here in all of its "
        f"{' or '.join(map(str, counts))} files, got {', '.join(path.name for path in files)}; fetch it again"
    ]


def inspect_published(task: Task) -> tuple[list[str], dict[str, dict[str, tuple[str, ...]]]]:
    """Faults of the files of a located task, as far as columns, the names of labels and first lines tell them.

    First those of splits of which no language can be used, then split → language → its faults, of the languages that
    are left out where others can be. Reads no rows of large files: a later look at the rows may find more.
    """
    source = task.source
    if not isinstance(source, PublishedSource):
        return [], {}
    faults: list[str] = []
    without: dict[str, dict[str, tuple[str, ...]]] = {}
    here = places.chosen(source)
    for split in dict.fromkeys(split for split, _ in here):
        mine = {language: parts for (of, language), parts in here.items() if of == split}
        found = {language: _head_faults(task, source, parts) for language, parts in mine.items()}
        wrong = {language: told for language, told in found.items() if told}
        if len(wrong) == len(mine):
            faults += [fault for told in wrong.values() for fault in told]
        elif wrong:
            without[split] = wrong
    return list(dict.fromkeys(faults)), without


def _head_faults(
    task: Task, source: PublishedSource, parts: Iterable[tuple[Part, tuple[Path, ...]]]
) -> tuple[str, ...]:
    faults: list[str] = []
    for part, files in parts:
        made = _Reading(task, source, part, _where(part, files))
        made.look(files)
        faults += [*_missing_files(part, files), *made.faults]
    return tuple(dict.fromkeys(faults))


@dataclass
class _Reading:
    """One part being read: what is wrong with it gathers in `faults`."""

    task: Task
    source: PublishedSource
    part: Part
    where: str

    def __post_init__(self) -> None:
        self.faults: list[str] = []
        self.misplaced: Misplaced | None = None
        self.fields = dict(self.source.fields)

    def table(self, files: tuple[Path, ...]) -> pa.Table:
        """The rows of the files, or anything where `faults` is not empty."""
        raw = pa.table({})
        is_bucc = self.part.layout is Layout.BUCC
        with self._reading(files):
            raw = self._bucc(files) if is_bucc else RAW[self.part.layout](files)
        if not self.faults and not is_bucc:
            self._columns(raw.schema)
        if not self.faults and not is_bucc:
            self._refuse_nulls(raw)
        if self.faults:
            return raw
        table = raw if is_bucc else _SHAPES[self.source.shaping](self, raw)
        return table if self.faults else self._checked(table)

    def look(self, files: tuple[Path, ...]) -> None:
        """Gather the faults that columns, the names of labels and first lines tell."""
        for these in [(path,) for path in files] if self.part.layout is Layout.HUB else [files]:
            self.where = _where(self.part, these)
            with self._reading(these):
                if self.part.layout is Layout.BUCC:
                    for path in files:
                        self._cut(path, first_lines(path))
                for head in heads(self.part.layout, these):
                    self._columns(head.schema)

    @contextmanager
    def _reading(self, files: tuple[Path, ...]) -> Iterator[None]:
        """What is wrong with a file becomes a fault, without the folder: faults are stored beside scores."""
        try:
            yield
        except Invalid as error:
            what = error.what.rpartition("/")[2]
            self.faults += [f"{self.where}: {what}: {fault}" for fault in error.faults]
        except (pa.ArrowInvalid, OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            reason = reason.replace(f"{files[0].parent}/", "")
            self.faults.append(
                f"{self.where} cannot be read as {self.part.layout} files say ({reason}); fetch it again"
            )

    def _columns(self, schema: pa.Schema) -> None:
        """Gather the faults of columns and of the names of labels."""
        before = len(self.faults)
        self.faults += column_faults(schema, self.source.columns, self.where)
        if len(self.faults) == before and (column := self._label_column):
            codes = self._codes(schema, column)
            if not codes and len(self.faults) == before and pa.types.is_integer(_value_type(schema.field(column).type)):
                self.faults.append(
                    f"{self.where}: column {column!r} must hold names, or numbers whose names the file carries, got "
                    f"{schema.field(column).type} without names; fetch the publisher's own file, or state what the "
                    "numbers mean as `codes` of the task's source"
                )

    @property
    def _label_column(self) -> str:
        """The column that holds labels or tags; empty where there is none, or where the labels come from the rows."""
        return {
            Shaping.PAIR: "label",
            Shaping.ENDINGS: "label",
            Shaping.COSMOS_QA: "label",
            Shaping.LETTERED: "answerKey",
            Shaping.TAGS: self.fields.get("tags", ""),
        }.get(self.source.shaping, "")

    def _refuse_nulls(self, raw: pa.Table) -> None:
        """Gather a fault for every column that lacks a value, also within its lists."""
        for name, _ in self.source.columns:
            if rows := null_rows(raw[name]):
                self.faults.append(
                    f"{self.where}: column {name!r} must have no empty value, got {len(rows)} rows with one (first row "
                    f"{rows[0]}: {str(raw[name][rows[0]].as_py())[:80]}); correct or drop them"
                )

    def _refuse_repeated(self, table: pa.Table) -> None:
        """Gather a fault where two items that are scored have one id: gains are paired by item."""
        if self.part.split != "test" or self.task.kind is Kind.RETRIEVAL:  # both sides of a pair may have one
            return
        ids = Counter(table["id"].to_pylist())
        if repeated := {one: times for one, times in ids.items() if times > 1}:
            one, times = next(iter(repeated.items()))
            self.faults.append(
                f"{self.where}: ids of a test split must differ, got {one!r} {times} times and {len(repeated)} such "
                "ids; number the rows anew"
            )

    def _checked(self, table: pa.Table) -> pa.Table:
        self._refuse_repeated(table)
        if table.num_rows == 0:
            self.faults.append(
                f"{self.where} must have rows in {self.part.language!r}, got none; fetch it again or leave the "
                "language out"
            )
        return table

    # labels

    def _codes(self, schema: pa.Schema, column: str) -> dict[str, str]:
        """What the label column holds, as text → our label."""
        codes = dict(self.source.codes)
        known = {*self.task.labels, *codes.values()}
        names = label_names(schema, column)
        if not names:
            return codes
        ours = [name if name in known else codes.get(name, "") for name in names]
        if set(ours) != known:
            self.faults.append(
                f"{self.where}: the labels of {column!r} must be {', '.join(sorted(known))}, got {', '.join(names)}; "
                "the publisher may have changed them: fetch the revision that the catalogue pins"
            )
        return {str(number): name for number, name in enumerate(ours)} | {name: name for name in sorted(known)}

    def _labelled(self, raw: pa.Table, column: str, order: tuple[str, ...]) -> tuple[pa.Table, pa.Array]:
        """The rows that have a label, and its place in `order`."""
        codes = self._codes(raw.schema, column)
        values = raw[column].cast(pa.string())
        if self.source.unlabelled:
            kept = pc.invert(pc.is_in(values, pa.array(self.source.unlabelled)))
            raw, values = raw.filter(kept), values.filter(kept)
        places_ = pa.array([order.index(label) for label in codes.values() if label in order], pa.int64())
        found = pc.index_in(values, pa.array([code for code, label in codes.items() if label in order], pa.string()))
        bad = np.flatnonzero(pc.is_null(found).to_numpy(zero_copy_only=False))
        if len(bad):
            shown = sorted({repr(values[int(row)].as_py()) for row in bad[:1000]})[:_SHOWN]
            self.faults.append(
                f"{self.where}: column {column!r} must hold one of {', '.join(codes)}, got {', '.join(shown)} in "
                f"{len(bad)} rows (first row {bad[0]}); correct or drop them"
            )
            return raw, pa.nulls(len(raw), pa.int64())
        return raw, _whole(pc.take(places_, found))

    def _ids(self, raw: pa.Table, column: str = "id") -> pa.Array:
        """Ids of rows: the publisher's, or the number of the row; an item has the same in every language."""
        origin = f"{self.part.repository.rpartition('/')[2]}-{self.part.origin}"
        if column in raw.column_names:
            return pa.array([f"{origin}-{one}" for one in raw[column].to_pylist()], pa.string())
        return pa.array([f"{origin}-{row:06d}" for row in range(len(raw))], pa.string())

    def _languages(self, count: int) -> pa.Array:
        return pa.array([self.part.language] * count, pa.string())

    # kinds

    def _pair(self, raw: pa.Table) -> pa.Table:
        ids = self._ids(raw, self.fields.get("id", ""))
        raw = raw.append_column("row id", ids)
        raw, labels = self._labelled(raw, "label", self.task.labels)
        columns = [raw["row id"], self._languages(len(raw))]
        columns += [raw[self.fields.get(name, name)].cast(pa.string()) for name in ("premise", "hypothesis")]
        return pa.table([*columns, labels], schema=PAIR)

    def _question(self, raw: pa.Table) -> pa.Table:
        if beginning := places.id_beginning(self.source, self.part):
            raw = raw.filter(pc.starts_with(raw["id"], beginning))
        rows, missing = [], []
        moved: list[str] = []
        placeless: list[str] = []
        for row in raw.select(["id", "context", "question", "answers"]).to_pylist():
            texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
            if len(texts) != len(starts) or not all(texts) or (not texts and not self.task.unanswerable):
                missing.append(row["id"])
                continue
            start, is_far = place_of(row["context"], texts[0], starts[0]) if texts else (-1, False)
            if is_far:
                (moved if start >= 0 else placeless).append(f"{row['id']}: {texts[0][:30]!r} at {starts[0]}")
            if texts and start < 0 and self.part.split == "train":
                continue  # there is nothing to learn; elsewhere the text is what is scored
            rows.append(
                {
                    "id": row["id"],
                    "language": self.part.language,
                    "context": row["context"],
                    "question": row["question"],
                    "answer_text": texts[0] if texts else "",
                    "answer_start": start,
                    "answers": list(dict.fromkeys(texts)) or [""],
                }
            )
        if missing:
            self.faults.append(
                f"{self.where}: every question must have answers, each with its place, got {len(missing)} without "
                f"({', '.join(missing[:_SHOWN])}); correct or drop them"
            )
        if self.part.split == "train" and len(placeless) > LEFT_OUT_SHARE * len(raw):
            self.faults.append(
                f"{self.where}: every answer must stand in its context where answer_start says, or elsewhere in it, "
                f"got {len(placeless)} of {len(raw)} that do not ({', '.join(placeless[:_SHOWN])}); at most "
                f"{LEFT_OUT_SHARE:.0%} of training are left out: correct or drop them"
            )
        if moved or placeless:
            self.misplaced = Misplaced(
                language=self.part.language,
                questions=len(raw),
                moved=len(moved),
                placeless=len(placeless),
                example=(moved or placeless)[0],
            )
        return pa.Table.from_pylist(rows, schema=SPAN.append(ANSWERS))

    def _endings(self, raw: pa.Table) -> pa.Table:
        raw = raw.append_column("row id", self._ids(raw, ""))
        raw, labels = self._labelled(raw, "label", self._order())
        return self._choices(raw["row id"], raw["ctx"].to_pylist(), raw["endings"].to_pylist(), labels)

    def _cosmos(self, raw: pa.Table) -> pa.Table:
        raw = raw.append_column("row id", self._ids(raw))
        raw, labels = self._labelled(raw, "label", self._order())
        answers = zip(*(raw[f"answer{number}"].to_pylist() for number in range(4)), strict=True)
        asked = raw["question"].to_pylist()
        endings = [[f"{question} {one}" for one in four] for question, four in zip(asked, answers, strict=True)]
        return self._choices(raw["row id"], raw["context"].to_pylist(), endings, labels)

    def _lettered(self, raw: pa.Table) -> pa.Table:
        raw = raw.append_column("row id", self._ids(raw))
        raw, labels = self._labelled(raw, "answerKey", self._order())
        choices = raw["choices"].to_pylist()
        letters = [code for code, _ in self.source.codes]
        wrong = [row for row, one in enumerate(choices) if one["label"] != letters]
        if wrong:
            self.faults.append(
                f"{self.where}: choices must be lettered {' '.join(letters)}, got {len(wrong)} rows that are not "
                f"(first row {wrong[0]}); correct or drop them"
            )
        return self._choices(raw["row id"], raw["question"].to_pylist(), [one["text"] for one in choices], labels)

    def _order(self) -> tuple[str, ...]:
        return tuple(label for _, label in self.source.codes)

    def _choices(self, ids: pa.Array, contexts: list, endings: list, labels: pa.Array) -> pa.Table:
        many = len(self.source.codes)
        wrong = [row for row, one in enumerate(endings) if len(one) != many]
        if wrong:
            self.faults.append(
                f"{self.where}: every row must have {many} endings, got {len(endings[wrong[0]])} in row {wrong[0]} and "
                f"{len(wrong)} such rows; correct or drop them"
            )
        columns = [ids, self._languages(len(ids)), pa.array(contexts, pa.string())]
        return pa.table([*columns, pa.array(endings, pa.list_(pa.string())), labels], schema=CHOICE)

    def _tags(self, raw: pa.Table) -> pa.Table:
        column = self.fields["tags"]
        codes = {**self._codes(raw.schema, column), **{tag: tag for tag in self.task.labels}}
        place = {code: self.task.labels.index(tag) for code, tag in codes.items() if tag in self.task.labels}
        # Rows are numbered, and sentences differ from language to language.
        ids = pc.binary_join_element_wise(self.part.language, self._ids(raw, ""), "-")
        return self._tagged(raw, ids, raw[column].to_pylist(), place.get)

    def _supertags(self, raw: pa.Table) -> pa.Table:
        place = {tag: number for number, tag in enumerate(self.task.labels)}
        return self._tagged(raw, raw["id"], raw["tags"].to_pylist(), lambda tag: place.get(tag, place.get(CCG_REST)))

    def _tagged(self, raw: pa.Table, ids: pa.Array, tags: list[list], place: Callable[[str], int | None]) -> pa.Table:
        words = raw["tokens"].to_pylist()
        apart = [row for row, (ours, theirs) in enumerate(zip(words, tags, strict=True)) if len(ours) != len(theirs)]
        empty = [row for row, ours in enumerate(words) if not ours]
        for rows, what in ((apart, "as many tags as tokens"), (empty, "at least one token")):
            if rows:
                self.faults.append(
                    f"{self.where}: every sentence must have {what}, got {len(rows)} that have not "
                    f"(first row {rows[0]}: {len(words[rows[0]])} tokens, {len(tags[rows[0]])} tags); correct or "
                    "drop them"
                )
        numbers = [[place(str(tag)) for tag in row] for row in tags]
        unknown = sorted(
            {
                str(tag)
                for row, ours in zip(tags, numbers, strict=True)
                for tag, n in zip(row, ours, strict=True)
                if n is None
            }
        )
        if unknown:
            self.faults.append(
                f"{self.where}: tags must be of {', '.join(self.task.labels)}, got {', '.join(unknown[:_SHOWN])}; "
                "the publisher may have changed them: fetch the revision that the catalogue pins"
            )
        columns = [ids, self._languages(len(words)), pa.array(words, pa.list_(pa.string()))]
        return pa.table([*columns, pa.array(numbers, pa.list_(pa.int64()))], schema=TAGGING)

    def _translations(self, raw: pa.Table) -> pa.Table:
        """Pairs are numbered language by language: the same row holds another sentence in another language."""
        ids = [f"{self.part.language}-{row:06d}" for row in range(len(raw))]
        return self._two_sides(
            dict(zip(ids, raw["source_sentence"].to_pylist(), strict=True)),
            dict(zip(ids, raw["target_sentence"].to_pylist(), strict=True)),
            {one: one for one in ids},
        )

    def _two_sides(self, foreign: dict[str, str], english: dict[str, str], match: dict[str, str]) -> pa.Table:
        count = len(foreign) + len(english)
        columns = [
            [*foreign, *english],
            self._languages(count),
            [False] * len(foreign) + [True] * len(english),
            [*foreign.values(), *english.values()],
            [match.get(one, "") for one in foreign] + [""] * len(english),
        ]
        return pa.table(columns, schema=RETRIEVAL)

    def _cut(self, path: Path, these: list[str]) -> list[tuple[str, str, str]]:
        """Lines of a file of BUCC in their two parts."""
        cut = [line.partition("\t") for line in these]
        bad = [number for number, (_, tab, _) in enumerate(cut, start=1) if not tab]
        if bad:
            self.faults.append(
                f"{self.where}: lines must be id, tab, sentence, got line {bad[0]} of {path.name} without; "
                "fetch it again"
            )
        return cut

    def _bucc(self, files: tuple[Path, ...]) -> pa.Table:
        sides: list[dict[str, str]] = []
        for path in files[:2]:
            cut = self._cut(path, lines(path))
            ids = Counter(one for one, _, _ in cut)
            self.faults += [
                f"{self.where}: ids must differ, got {one!r} {times} times in {path.name}; fetch it again"
                for one, times in ids.most_common(1)
                if times > 1
            ]
            sides.append({one: text for one, _, text in cut})
        gold = [line.split("\t") for line in lines(files[2])]
        lost = [pair for pair in gold if len(pair) != 2 or pair[0] not in sides[0] or pair[1] not in sides[1]]
        if lost:
            self.faults.append(
                f"{self.where}: gold pairs must name a sentence of each text, got {len(lost)} that do not "
                f"({' '.join(lost[0])}); fetch the three files of one archive"
            )
            return pa.table({})
        return self._two_sides(*sides, {left: right for left, right in gold})


def _value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a list, and of anything else itself."""
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


_SHAPES: dict[Shaping, Callable[[_Reading, pa.Table], pa.Table]] = {
    Shaping.PAIR: _Reading._pair,
    Shaping.QUESTION: _Reading._question,
    Shaping.ENDINGS: _Reading._endings,
    Shaping.COSMOS_QA: _Reading._cosmos,
    Shaping.LETTERED: _Reading._lettered,
    Shaping.TAGS: _Reading._tags,
    Shaping.SUPERTAGS: _Reading._supertags,
    Shaping.TRANSLATIONS: _Reading._translations,
    Shaping.MINED: _Reading._translations,
}

#: The schema of each kind that published files are read as.
PUBLISHED = {
    Kind.PAIR: PAIR,
    Kind.SPAN: SPAN.append(ANSWERS),
    Kind.CHOICE: CHOICE,
    Kind.TAGGING: TAGGING,
    Kind.RETRIEVAL: RETRIEVAL,
}
