"""The commands that read sweeps: report, compare, tensorboard, export and import; parse words and call the library."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sweep.masked import masked
from trainables.faults import NotThere

if TYPE_CHECKING:
    from sweep.results import Results
    from sweep.suite import Suite
    from sweep.suite_results import SuiteResults

#: As in `sweep.cli`.
_STORAGE = "sweeps"


def add_reading(commands: Any) -> None:
    """Put the commands beside those of `sweep.cli`."""
    report = _command(commands, "report", _report, "write one HTML page with the answer, figures and tables")
    report.add_argument("sweep", metavar="NAME_OR_FILE", help="a sweep that was run, or its definition file")
    report.add_argument("--output", metavar="FILE", help="where to, a .html file (default: the sweep's report folder)")
    report.add_argument(
        "--published", metavar="CSV", help="accuracies of others to show beside: a column 'model', one per language"
    )
    report.set_defaults(together=_report_together)
    both = _command(
        commands, "compare", _compare, "print what two sweeps differ in, cell by cell, paired by seed and item"
    )
    both.add_argument("one", metavar="A", help="a sweep that was run, or its definition file")
    both.add_argument("other", metavar="B", help="another one of the same target")
    both.add_argument("--other-storage", metavar="DIR", help="where B lies (default: the same storage)")
    both.add_argument("--format", choices=("table", "csv", "markdown", "json"), default="table")
    both.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="rows with that value only")
    board = _command(
        commands, "tensorboard", _tensorboard, "serve a sweep's TensorBoard from any storage, until Ctrl-C"
    )
    board.add_argument("sweep", metavar="NAME_OR_FILE", help="a sweep that was run or runs, or its definition file")
    board.add_argument(
        "--every-trial", action="store_true", help="the HParams page of every trial, thousands too, without curves"
    )
    board.add_argument("--port", type=int, default=6006, help="0 for any that is free (default: %(default)s)")
    board.add_argument("--host", default="localhost", help="0.0.0.0 to be seen from elsewhere (default: %(default)s)")
    out = _command(commands, "export", _export, "write a sweep for other tools: tables, Optuna, the Hugging Face hub")
    out.add_argument("sweep", metavar="NAME_OR_FILE", help="a sweep that was run, or its definition file")
    out.add_argument("--tables", metavar="DIR", help="the tables as Parquet and CSV, those of the report too")
    out.add_argument("--optuna", metavar="FILE", help="an Optuna journal, a study per cell: optuna-dashboard FILE")
    out.add_argument("--hf-dataset", metavar="DIR", help="all tables as a data set that datasets.load_dataset reads")
    out.add_argument(
        "--encoder", metavar="DIR", help="the best encoder for AutoModel.from_pretrained, with a model card"
    )
    out.add_argument("--cell", help="the cell that --encoder takes it from (default: the best by English dev)")
    out.set_defaults(together=_export_together)
    load = _command(commands, "import", _import, "load published accuracies as a sweep, for tables and reports")
    load.add_argument("file", metavar="CSV", help="a column 'model' and a column per language; percent or shares")
    load.add_argument("--name", required=True, help="name of the sweep that they become")
    load.add_argument("--items", type=int, required=True, help="test items behind each accuracy")
    load.add_argument("--baseline", required=True, help="the model that the others are compared with")


def _command(commands: Any, name: str, act: Any, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    help = "folder or pyarrow URI of stages, ledger and tables (default: ./%(default)s)"
    command.add_argument("--storage", default=_STORAGE, help=help)
    command.set_defaults(act=act)
    return command


def _report(options: argparse.Namespace) -> int:
    from sweep import published
    from sweep.cli import results_of

    _refuse_no_page(options.output)
    rows = published.read(options.published) if options.published else ()
    results = results_of(options.sweep, options.storage)
    paths = results.report(options.output, published=rows)
    _say_what_is_unread(results)
    print(f"wrote {masked(paths[0])}")
    print(f"wrote {len(paths) - 1} files in {masked(paths[1].rpartition('/')[0])}", file=sys.stderr)
    return 0


def _report_together(suite: Suite, options: argparse.Namespace) -> int:
    """The page of a suite, with the reports of its sweeps beside it."""
    from sweep.suite_results import SuiteResults

    if options.published:
        raise NotThere(f"--published is of one target: report one sweep of {suite.name}, as {suite.sweeps[0].name}")
    _refuse_no_page(options.output)
    results = SuiteResults.open(options.storage, suite)
    paths = results.report(options.output)
    print(f"wrote {paths[0]}")
    print(f"wrote {len(paths) - 1} files in {paths[1].rpartition('/')[0]}", file=sys.stderr)
    return _missing(results)


def _missing(results: SuiteResults) -> int:
    """Say which sweeps of a suite have not been run; the exit code."""
    for name in results.missing:
        print(f"sweep: {name} has not been run in {results.storage}", file=sys.stderr)
    return 1 if results.missing else 0


def _say_what_is_unread(*found: Results) -> None:
    for why in filter(None, (results.unread() for results in found)):
        print(f"sweep: {why}", file=sys.stderr)


def _refuse_no_page(output: str | None) -> None:
    if output is not None and not output.endswith(".html"):
        raise NotThere(f"the report is one HTML file, so --output must end in .html, got {output!r}")


def _compare(options: argparse.Namespace) -> int:
    from sweep.cli import results_of
    from sweep.compare import compare, differences
    from sweep.rows import only, rows_text

    one = results_of(options.one, options.storage)
    other = results_of(options.other, options.other_storage or options.storage)
    table = only(compare(one, other), options.where)
    shown = ["cell", "language", "accuracy", "other_accuracy", "gain", "p_value", "p_holm", "family_size", "seeds"]
    shown += ["absent_reason", "remark"]
    print(rows_text(table, options.format, shown))
    _say_what_is_unread(one, other)
    for line in differences(one, other):
        print(f"differs in {line}", file=sys.stderr)
    return 0


def _tensorboard(options: argparse.Namespace) -> int:
    from sweep.cli import results_of
    from sweep.tensorboard_view import serve

    try:
        serve(
            results_of(options.sweep, options.storage),
            every_trial=options.every_trial,
            port=options.port,
            host=options.host,
        )
    except KeyboardInterrupt:
        print("TensorBoard has ended", file=sys.stderr)
    return 0


def _export(options: argparse.Namespace) -> int:
    from sweep import export_hub
    from sweep.cli import results_of
    from sweep.export import journal

    _refuse_no_export(options)
    results = results_of(options.sweep, options.storage)
    _say_what_is_unread(results)
    paths = list(results.export(options.tables, everything=True)) if options.tables else []
    if options.optuna:
        journal(options.optuna, results)
        paths.append(options.optuna)
    if options.hf_dataset:
        paths += export_hub.data_set(results, options.hf_dataset)
    if options.encoder:
        paths += export_hub.encoder(results, options.encoder, options.cell)
    for path in paths:
        print(f"wrote {masked(str(path))}")
    return 0


def _export_together(suite: Suite, options: argparse.Namespace) -> int:
    """What was asked for of every sweep of a suite: a folder of its name for each, and one journal for all."""
    from sweep import export_hub
    from sweep.export import journal
    from sweep.suite_results import SuiteResults

    _refuse_no_export(options)
    results = SuiteResults.open(options.storage, suite)
    paths = list(results.export(options.tables)) if options.tables else []
    if options.optuna:
        journal(options.optuna, *results.targets)
        paths.append(options.optuna)
    for one in results.targets:
        if options.hf_dataset:
            paths += export_hub.data_set(one, f"{options.hf_dataset}/{one.name}")
        if options.encoder:
            paths += export_hub.encoder(one, f"{options.encoder}/{one.name}", options.cell)
    for path in paths:
        print(f"wrote {masked(str(path))}")
    return _missing(results)


def _refuse_no_export(options: argparse.Namespace) -> None:
    if not (options.tables or options.optuna or options.hf_dataset or options.encoder):
        raise NotThere("say what to export: --tables DIR, --optuna FILE, --hf-dataset DIR, --encoder DIR")
    if options.cell and not options.encoder:
        raise NotThere("--cell says which encoder to export, so it needs --encoder DIR")


def _import(options: argparse.Namespace) -> int:
    from sweep import published

    published.load(
        options.file, storage=options.storage, name=options.name, items=options.items, baseline=options.baseline
    )
    print(f"{options.name}: imported; see `sweep table {options.name} --storage {masked(options.storage)}`")
    return 0
