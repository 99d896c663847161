"""Claims about the labels that an oracle is shown: development data where there are any, else half of the test."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep import record_definition
from sweep.absence import find
from sweep.paths import path_of
from sweep.plan import estimated_seconds, plan, uncounted
from sweep.plan_text import plan_text
from sweep.points import default_values
from sweep.records import Phase
from sweep.task_text import task_lines
from tests.pure import published_files as files
from tests.pure.small_sweep import BASELINE, small_sweep
from tests.pure.test_rehearsal import rehearse
from trainables.catalogue import lab, lab_twins, xtreme, xtreme_m
from trainables.catalogue.development import developed_in, with_oracle
from trainables.catalogue.task import ORACLE_DEV, Part, Role, Task
from trainables.catalogue.translated import translated
from trainables.catalogue.xtreme import BUCC, MLQA, NER, PANX_TAGS, PAWSX, POS, TYDIQA, UPOS, XNLI, XQUAD
from trainables.data import places
from trainables.data.counted import remarks
from trainables.data.fingerprint import resolve
from trainables.data.looking import look
from trainables.data.reading import inspect, read
from trainables.data.remarked import other_languages, own_remarks
from trainables.faults import Invalid
from trainables.selectors import Selector
from trainables.stages import Evaluation


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """An empty mirror folder, and an empty cache of the hub."""
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def shown(task: Task) -> tuple[Part, ...]:
    return tuple(part for part in with_oracle(task).source.parts if part.split == ORACLE_DEV)


def others(task: Task, *without: str) -> tuple[str, ...]:
    return tuple(code for code in task.split("test").languages if code not in ("en", *without))


class TestPublished:
    @pytest.mark.parametrize(
        ("task", "without", "rows", "german"),
        [
            (XNLI, (), 2_490, ("facebook/xnli", "de", "validation", 2_490)),
            (PAWSX, (), 2_000, ("google-research-datasets/paws-x", "de", "validation", 2_000)),
            (MLQA, (), 508, ("google/xtreme", "MLQA.de.de", "validation", 512)),
            (NER, (), 0, ("google/xtreme", "PAN-X.de", "validation", 0)),
            (POS, ("kk", "th", "tl", "yo"), 0, ("google/xtreme", "udpos.German", "validation", 0)),
        ],
    )
    def test_its_publishers_development_data_are_shown_and_the_test_stays_whole(self, task, without, rows, german):
        made = with_oracle(task)
        assert made.oracle == made.split(ORACLE_DEV)
        assert made.oracle.languages == others(task, *without) == developed_in(task) == developed_in(made)
        assert made.oracle.rows == rows and made.split("test") == task.split("test")
        assert [part.language for part in shown(task)] == list(made.oracle.languages)
        (part,) = (part for part in shown(task) if part.language == "de")
        assert (part.repository, part.config, part.origin, part.rows) == german
        assert made.source.revisions == task.source.revisions  # what is pinned already

    @pytest.mark.parametrize("task", [XQUAD, TYDIQA, xtreme.TATOEBA])
    def test_a_test_without_such_is_halved(self, task):
        made = with_oracle(task)
        assert made.oracle == replace(task.split("test"), name="oracle") and made.source == task.source
        assert developed_in(task) == () == developed_in(made)

    def test_the_sample_of_bucc_is_shown_wherever_it_is_read(self):
        made = with_oracle(BUCC)
        assert made.oracle.languages == ("de", "fr", "ru", "zh") and made.split("test") == BUCC.split("test")
        assert {part.origin for part in shown(BUCC)} == {"sample"}
        assert {part.origin for part in made.source.instead if part.split == ORACLE_DEV} == {"validation"}

    def test_of_a_target_in_fewer_languages_no_more_are_shown(self):
        def tested_in(*codes: str) -> Task:
            return replace(POS, splits=(*POS.splits[:2], replace(POS.splits[2], languages=codes)))

        assert with_oracle(tested_in("en", "de", "th")).oracle.languages == ("de",)
        assert with_oracle(tested_in("en", "th", "yo")).oracle.name == "oracle"  # none of them has any
        assert with_oracle(tested_in("en")).oracle.name == "oracle"

    @pytest.mark.parametrize("task", [XNLI, lab_twins.XNLI], ids=["published", "lab"])
    def test_a_test_narrowed_after_it_is_refused_before_what_no_test_asks_for_is_fetched_or_trained_for(self, task):
        made = with_oracle(task)
        with pytest.raises(Invalid) as refused:
            few = [replace(one, languages=("en", "fr")) if one.name == "test" else one for one in made.splits]
            replace(made, splits=tuple(few))
        (fault,) = refused.value.faults
        assert fault.startswith("split 'oracle_dev' must be in languages of the test (en fr), got ar bg de el es hi ")
        assert fault.endswith("; state the languages of the test first, and then with_oracle(task)")
        both = [replace(one, languages=("fr",)) if one.name in ("test", ORACLE_DEV) else one for one in made.splits]
        assert replace(made, splits=tuple(both)).oracle.languages == ("fr",)

    @pytest.mark.parametrize(
        ("task", "patterns"),
        [
            (XNLI, ("*/test*", "*/validation*")),  # and no training set of fifteen languages
            (PAWSX, ("en/train*", "*/test*", "*/validation*")),
            (NER, ("PAN-X.en/train*", "PAN-X.*/test*", "PAN-X.*/validation*")),
            (
                MLQA,
                tuple(
                    f"MLQA.{one}.{one}/{origin}*"
                    for one in xtreme.MLQA_ROWS
                    for origin in (("test",) if one == "en" else ("test", "validation"))
                ),
            ),
        ],
    )
    def test_the_way_to_them_fetches_them_and_few_others(self, task, patterns):
        assert re.findall("--include '(.*?)'", places.way(with_oracle(task))) == list(patterns)

    def test_their_rows_are_read_and_those_of_the_test_all(self, mirror):
        for language in ("de", "sw"):
            files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet", labels=(0, 1, 2))
        files.nli(mirror / "facebook/xnli/de/validation-00000-of-00001.parquet", labels=(2, 1))
        made = resolve(with_oracle(XNLI))
        rows = read(made, ORACLE_DEV, None, None).to_pylist()
        assert [(row["id"], row["language"], row["label"]) for row in rows] == [
            ("xnli-validation-000000", "de", 2),
            ("xnli-validation-000001", "de", 1),
        ]
        assert read(made, "test", None, None).equals(read(resolve(XNLI), "test", None, None))
        assert read(made, "test", None, None).num_rows == 6
        assert places.absence(made) == ""
        told = "; ".join(remarks(made))
        assert "no oracle_dev files in 13 of 14 languages (ar bg el es fr hi ru sw th tr ur vi zh)" in told
        assert "2 rows of facebook/xnli de validation in 'de', published 2,490" in told

    def test_tags_and_questions_and_pairs_are_read_too(self, mirror):
        files.tagged(mirror / "google/xtreme/udpos.German/validation-00000-of-00001.parquet", "pos_tags", [[1]], UPOS)
        files.tagged(mirror / "google/xtreme/udpos.Thai/validation-00000-of-00001.parquet", "pos_tags", [[1]], UPOS)
        files.tagged(mirror / "google/xtreme/PAN-X.yo/validation-00000-of-00001.parquet", "ner_tags", [[1]], PANX_TAGS)
        files.questions(mirror / "google/xtreme/MLQA.hi.hi/validation-00000-of-00001.parquet", [files.question("one")])
        columns = {"id": ([7], pa.int32()), "label": ([1], pa.int64())}
        columns |= {name: (["a"], pa.string()) for name in ("sentence1", "sentence2")}
        files.parquet(mirror / "google-research-datasets/paws-x/ko/validation-00000-of-00001.parquet", columns)
        found = {
            task.name: read(resolve(with_oracle(task)), ORACLE_DEV, None, None)["id"].to_pylist()
            for task in (POS, NER, MLQA, PAWSX)
        }
        assert found == {
            "udpos": ["de-xtreme-validation-000000"],
            "panx": ["yo-xtreme-validation-000000"],
            "mlqa": ["one"],
            "pawsx": ["paws-x-validation-7"],
        }

    def test_they_are_looked_at_and_asked_for_only_where_the_definition_asks_for_an_oracle(self, mirror, tmp_path):
        for split in ("train", "validation_matched"):
            files.nli(mirror / f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet")
        files.nli(mirror / "facebook/xnli/de/test-00000-of-00001.parquet")
        sweep = small_sweep(target=XNLI, cells=(BASELINE,), pretrain=None, align_images=None)
        assert find(sweep, fetch=False).absent == {}
        asks = replace(sweep, target=with_oracle(XNLI))
        told = find(asks, fetch=False).absent["xnli"]
        assert told.startswith("no oracle_dev files of xnli in the mirror folder") and "'*/validation*'" in told
        files.nli(mirror / "facebook/xnli/de/validation-00000-of-00001.parquet", labels=(0, 7))
        assert find(asks, fetch=False).absent == {}
        (fault,) = look(resolve(asks.target), tmp_path / "cache").faults
        assert "facebook/xnli de validation" in fault and "got '7' in 1 rows" in fault
        assert look(resolve(XNLI), tmp_path / "cache").faults == ()

    def test_what_a_target_is_trained_on_is_named_as_without_an_oracle(self, mirror):
        """And what is evaluated otherwise: it depends on the development files."""
        for split in ("train", "validation", "test"):
            for language in ("en", "de") if split != "train" else ("en",):
                where = mirror / f"google/xtreme/PAN-X.{language}/{split}-00000-of-00001.parquet"
                files.tagged(where, "ner_tags", [[1, 2, 0]], PANX_TAGS)
        sweep = small_sweep(target=NER, cells=(BASELINE,), pretrain=None, align_images=None)

        def digests() -> tuple[list[str], list[str]]:
            found = [find(replace(sweep, target=task), fetch=False).sweep for task in (NER, with_oracle(NER))]
            paths = [
                path_of(one, BASELINE, default_values(one, BASELINE), phase=Phase.CONFIRMATION, seed=1) for one in found
            ]
            return [path[-2].digest for path in paths], [path[-1].digest for path in paths]

        trained, evaluated = digests()
        assert trained[0] == trained[1] and evaluated[0] != evaluated[1]
        files.tagged(mirror / "google/xtreme/PAN-X.de/validation-00000-of-00001.parquet", "ner_tags", [[0]], PANX_TAGS)
        again, otherwise = digests()
        assert again == trained and otherwise[0] == evaluated[0] and otherwise[1] != evaluated[1]

    def test_a_sweep_that_has_begun_may_come_to_ask_for_it(self):
        sweep = small_sweep(target=PAWSX, cells=(BASELINE,), pretrain=None, align_images=None)
        encoded = [
            record_definition._comparable(record_definition.encode(replace(sweep, target=task)))
            for task in (PAWSX, with_oracle(PAWSX))
        ]
        assert encoded[0] == encoded[1]

    def test_the_training_data_of_another_language_are_its_publishers_all_the_same(self):
        german = translated(with_oracle(PAWSX), "de")
        assert [part.repository for part in german.source.parts if part.split == "train"] == [
            "google-research-datasets/paws-x"
        ]

    def test_nothing_more_can_be_said_of_what_others_publish(self):
        with pytest.raises(
            Invalid, match=r"development must be left out unless .* got de; what publishers have is known"
        ):
            with_oracle(XNLI, development=["de"])

    @pytest.mark.parametrize("asked", [with_oracle, developed_in])
    def test_it_is_asked_of_tasks_alone(self, asked):
        with pytest.raises(Invalid, match=r"task must be a Task value, got 'xnli'; use task\('xnli'\) of trainables\."):
            asked("xnli")
        with pytest.raises(Invalid, match=r"what an oracle is shown .*\n.* got None; give a task"):
            asked(None)

    def test_a_second_time_it_is_refused(self):
        with pytest.raises(Invalid, match="each once, got 'oracle_dev' 2 times"):
            with_oracle(with_oracle(XNLI))
        with pytest.raises(Invalid, match="or development data \\('oracle_dev'\\), got both; leave one out"):
            both = with_oracle(XNLI)
            replace(both, splits=(*both.splits, replace(both.split("test"), name="oracle")))


class TestOnesOwn:
    def test_the_rows_of_the_development_file_in_the_languages_stated_are_shown(self, tmp_path):
        task = own(tmp_path)
        assert with_oracle(task).oracle.name == "oracle"
        made = with_oracle(task, development=["de"])
        assert inspect(made) == [] and inspect(task) == []
        resolved = resolve(made)
        assert set(read(resolved, ORACLE_DEV, None, None)["language"].to_pylist()) == {"de"}
        assert set(read(resolved, "dev", None, None)["language"].to_pylist()) == {"en"}
        assert read(resolved, "test", None, None).num_rows == 18
        assert [part.partition(":")[0] for part in resolved.source.fingerprint.split()] == [
            "dev",
            "oracle_dev",
            "test",
            "train",
        ]

    def test_rows_that_an_oracle_could_see_are_named_and_those_that_it_sees_are_not_left_out(self, tmp_path):
        task = own(tmp_path)
        (plain,) = other_languages(task)
        assert plain == "split 'dev' is read in en alone: 12 of its 18 rows are left out (6 in 'de', 6 in 'sw')"
        (halved,) = other_languages(with_oracle(task))
        assert (
            halved
            == f"{plain}; with_oracle(task, development=['de', 'sw']) shows an oracle those in place of half the test"
        )
        (partly,) = other_languages(with_oracle(task, development=["de"]))
        assert partly == "split 'dev' is read in en de alone: 6 of its 18 rows are left out (6 in 'sw')"
        assert list(other_languages(with_oracle(task, development=["de", "sw"]))) == []

    def test_a_language_that_the_file_lacks_and_one_that_is_not_tested_are_faults(self, tmp_path):
        task = own(tmp_path, dev=("en", "de"))
        (fault,) = inspect(with_oracle(task, development=["sw"]))
        assert fault.startswith("split 'oracle_dev' must have rows in 'sw', got none")
        with pytest.raises(Invalid, match=r"languages of the test other than English \(de sw\), got en fr; leave them"):
            with_oracle(task, development=["en", "de", "fr"])

    @pytest.mark.parametrize("what", ["label", "image"])
    def test_what_is_shown_has_the_labels_and_images_of_the_english_items(self, tmp_path, what):
        task = own(tmp_path)
        rows = pq.read_table(tmp_path / "dev.parquet").to_pylist()
        german = [row for row in rows if row["language"] == "de"]
        turned = [{**row, what: other[what]} for row, other in zip(german, german[1:] + german[:1], strict=True)]
        others = [row for row in rows if row["language"] != "de"]
        pq.write_table(pa.Table.from_pylist([*others, *turned]), tmp_path / "dev.parquet")
        assert inspect(task) == inspect(with_oracle(task, development=["sw"])) == []
        (fault,) = inspect(with_oracle(task, development=["de", "sw"]))
        assert fault.startswith(
            f"split 'oracle_dev': an item must have the same {what} in every language, got 6 of 6 in 'de' that differ "
            "from 'en' (dev100, dev101, dev102, …)"
        )
        (alone,) = inspect(with_oracle(task, development=["de"]))
        assert alone == fault

    def test_a_part_of_the_items_may_be_shown_and_what_english_lacks_is_told(self, tmp_path):
        task = own(tmp_path)
        rows = pq.read_table(tmp_path / "dev.parquet").to_pylist()
        german = [row for row in rows if row["language"] == "de"][:4]
        others = [row for row in rows if row["language"] == "en"]
        shown = with_oracle(task, development=["de"])
        pq.write_table(pa.Table.from_pylist([*others, *german]), tmp_path / "dev.parquet")
        assert inspect(shown) == [] and own_remarks(shown) == ()
        german[0]["id"] = german[1]["id"] + "~de"
        pq.write_table(pa.Table.from_pylist([*others, *german]), tmp_path / "dev.parquet")
        assert inspect(shown) == [] and own_remarks(shown) == (
            "split 'oracle_dev': 1 of 4 items in 'de' have the id of none in 'en': nothing says that their labels and "
            "images are right",
        )

    def test_the_evaluation_depends_on_the_languages_that_are_shown_and_no_training_does(self, tmp_path):
        task = own(tmp_path)
        named: list[tuple[str, str]] = []
        for target in (task, with_oracle(task, development=["de"]), with_oracle(task, development=["de", "sw"])):
            sweep = find(small_sweep(target=target, cells=(BASELINE,)), fetch=False).sweep
            path = path_of(sweep, BASELINE, default_values(sweep, BASELINE), phase=Phase.CONFIRMATION, seed=1)
            named.append((path[-2].digest, path[-1].digest))
        assert len({trained for trained, _ in named}) == 1 and len({scored for _, scored in named}) == 3

    def test_text_pairs_are_shown_where_the_file_says_the_language_of_each(self, tmp_path):
        head, rows = "premise\thypothesis\tlabel\tlanguage\n", "a {0}\tb\tentailment\ten\nc {0}\td\tneutral\tde\n"
        paths = {}
        for name in ("train", "dev", "test"):
            paths[name] = tmp_path / f"{name}.tsv"
            paths[name].write_text(head + rows.format(name))
        task = xtreme_m.text_pair_task("mine", **paths, test_languages=("en", "de"))
        made = with_oracle(task, development=["de"])
        assert inspect(made) == [] and inspect(with_oracle(task)) == []
        assert read(resolve(made), ORACLE_DEV, None, None)["premise"].to_pylist() == ["c dev"]
        (told,) = [one for one in own_remarks(made) if "oracle_dev" in one]
        assert told.startswith("split 'oracle_dev': 1 of 1 items in 'de' have the id of none in 'en'")
        paths["dev"].write_text(f"id\t{head}a\te\tf\tneutral\ten\na\tg\th\tentailment\tde\n")
        (fault,) = inspect(made)
        assert "got 1 of 1 in 'de' that differ from 'en' (a)" in fault
        assert not any("oracle_dev" in one for one in own_remarks(made))
        paths["dev"].write_text("premise\thypothesis\tlabel\ne\tf\tneutral\n")
        assert any("must have a column 'language'" in fault for fault in inspect(made))
        with pytest.raises(Invalid, match="must have a column 'language'"):
            read(made, ORACLE_DEV, None, None)


def own(folder: Path, dev: tuple[str, ...] = ("en", "de", "sw")) -> Task:
    """A set in the documented Parquet format; six items of each split, each with a picture of its own."""
    from tests.libraries.test_data_check import write

    for first, (split, languages) in enumerate({"train": ("en",), "dev": dev, "test": ("en", "de", "sw")}.items()):
        write(folder, split, first=100 * first, languages=languages, rows=6)
    return xtreme_m.parquet_task("mine", folder, languages=("en", "de", "sw"))


class TestTheLab:
    @pytest.mark.parametrize("task", [*lab_twins.TARGETS, lab.VISUAL_NLI], ids=lambda task: task.name)
    def test_a_twin_is_shown_what_its_task_is(self, task):
        made = with_oracle(task)
        real = {one.name: one for one in xtreme.TARGETS}.get(task.twin_of)
        is_developed = real is not None and with_oracle(real).oracle.name == ORACLE_DEV
        assert made.oracle.name == (ORACLE_DEV if is_developed else "oracle")

    def test_its_development_data_are_other_scenes_than_the_test_and_parallel(self):
        made = with_oracle(lab_twins.XNLI)
        rows, test = read(made, ORACLE_DEV, ("de", "sw"), None), read(made, "test", ("de",), None)
        assert rows.num_rows == 600 and test.num_rows == lab_twins.TEST
        ids = {code: [row["id"] for row in rows.to_pylist() if row["language"] == code] for code in ("de", "sw")}
        assert ids["de"] == ids["sw"] and not {*ids["de"]} & {*test["id"].to_pylist()}

    def test_a_rehearsed_run_is_chosen_by_them_and_reported_on_the_whole_test(self, tmp_path):
        target = with_oracle(lab_twins.PAWSX)
        sweep = small_sweep(target=target, cells=(BASELINE,), selector=Selector.ORACLE)
        path = path_of(sweep, BASELINE, default_values(sweep, BASELINE), phase=Phase.CONFIRMATION, seed=1)
        outcome = rehearse(path, tmp_path)
        by_role = {role: {one.language for one in outcome.scores if one.role is role} for role in Role}
        assert by_role[Role.ORACLE] == {*others(target)} and by_role[Role.REPORT] == {*target.split("test").languages}
        assert {one.split for one in outcome.scores if one.role is Role.ORACLE} == {ORACLE_DEV}
        answers = pq.read_table(tmp_path / path[-1].digest / "predictions.parquet")
        assert answers.num_rows == sum(one.count for one in outcome.scores if one.role is Role.REPORT)


class TestTheTasksCommand:
    def test_it_says_what_an_oracle_would_be_shown_of_a_target_that_is_trained(self, mirror):
        def line(task: Task) -> str:
            return next((one for one in task_lines(task).splitlines() if one.startswith("with_oracle ")), "")

        assert line(PAWSX).endswith("development data in de es fr ja ko zh; the whole test is reported")
        assert line(XQUAD).endswith("  half of the test")
        assert line(BUCC) == line(XNLI.teacher) == ""


class TestThePlan:
    def test_it_says_what_an_oracle_is_shown(self):
        def line(task: Task) -> str:
            text = plan_text(plan(small_sweep(target=task, cells=(BASELINE,), pretrain=None, align_images=None)))
            return next((one for one in text.splitlines() if one.startswith("oracle ")), "")

        assert line(lab.VISUAL_NLI) == "" == line(XNLI)
        assert line(with_oracle(lab.VISUAL_NLI)).endswith(
            "half of the test, by a hash of the item's id; the other half is reported"
        )
        assert line(with_oracle(XNLI)) == "oracle   development data in 14 languages; the whole test is reported"
        told = line(with_oracle(POS))
        assert told.endswith(
            "data in 28 languages; the whole test is reported, in kk th tl yo too, which have none and no say"
        )

    @pytest.mark.parametrize("languages", [("de",), ("de", "sw")])
    def test_it_counts_no_language_whose_files_are_not_here(self, languages, mirror):
        def lines() -> list[str]:
            sweep = small_sweep(target=with_oracle(XNLI), cells=(BASELINE,), pretrain=None, align_images=None)
            text = plan_text(plan(find(sweep, fetch=False).sweep)).splitlines()
            first = next(place for place, line in enumerate(text) if line.startswith("oracle "))
            return text[first : first + 2]

        files.nli(mirror / "facebook/xnli/de/test-00000-of-00001.parquet")
        assert (
            lines()[0] == "oracle   development data in 14 languages; the whole test is reported"
        )  # absent, told below
        for language in languages:
            files.nli(mirror / f"facebook/xnli/{language}/validation-00000-of-00001.parquet")
        counted = "1 language" if len(languages) == 1 else "2 languages"
        assert lines() == [
            f"oracle   development data in {counted}; the whole test is reported",
            f"         no files of {14 - len(languages)} more are here: these have no say either",
        ]

    def test_its_cost_counts_development_data_as_well_and_says_where_it_cannot(self):
        def scored(task: Task) -> Evaluation:
            sweep = small_sweep(target=task, cells=(BASELINE,), pretrain=None, align_images=None)
            return path_of(sweep, BASELINE, default_values(sweep, BASELINE), phase=Phase.CONFIRMATION, seed=1)[-1]

        plain, asks = scored(XNLI), scored(with_oracle(XNLI))
        ratio = estimated_seconds(asks) / estimated_seconds(plain)
        assert ratio == pytest.approx(1 + 14 * 2_490 / (15 * 5_010))
        halved = estimated_seconds(scored(with_oracle(XQUAD))) / estimated_seconds(scored(XQUAD))
        assert halved == 1
        assert uncounted([asks]) == () and uncounted([scored(with_oracle(NER))]) == ("panx",)
