"""The commands about data: parses their words, calls the library, prints; decides nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from sweep.load import load
from trainables.catalogue.task import NLI_LABELS

MIRROR_HELP = "mirror folder of published data sets (default: the variable SWEEP_DATA)"


def add_data(commands: Any) -> None:
    """The `data` command with its own: `check` and `features`."""
    text = "look at data of one's own before a sweep, or at images before its gangs do"
    data = commands.add_parser("data", help=text, description=f"{text[0].upper()}{text[1:]}.")
    inner = data.add_subparsers(required=True, metavar="WHAT")
    text = "report what a folder in the documented Parquet format holds, and what is wrong with it"
    checker = inner.add_parser("check", help=text, description=f"{text[0].upper()}{text[1:]}.")
    checker.add_argument("path", metavar="PATH", help="folder of train.parquet, dev.parquet and test.parquet")
    checker.add_argument("--labels", default=",".join(NLI_LABELS), help="label names in order (default: %(default)s)")
    text = "of the training file; another than English makes it a source of the target (default: %(default)s)"
    checker.add_argument("--language", default="en", metavar="CODE", help=text)
    checker.add_argument("--languages", metavar="CODES", help="of the test, as en,de (default: all that its file has)")
    for split in ("train", "dev", "test"):
        text = f"the file of {split} in that folder (default: %(default)s)"
        checker.add_argument(f"--{split}", default=f"{split}.parquet", metavar="FILE", help=text)
    checker.add_argument("--format", choices=("table", "json"), default="table")
    checker.epilog = "Exits with 0 if a sweep can use it, with 1 if something must be mended first."
    checker.set_defaults(act=_check)
    text = "compute the vision tower's features of a sweep's images on this machine, into its storage"
    features = inner.add_parser("features", help=text, description=f"{text[0].upper()}{text[1:]}.")
    features.add_argument("sweep", metavar="NAME_OR_FILE", help="a .py file with one Sweep, or a preset")
    features.add_argument("--storage", default="sweeps", help="folder of the sweep (default: ./%(default)s)")
    features.add_argument("--data", metavar="DIR", help=MIRROR_HELP)
    features.set_defaults(act=_features)


def _check(options: argparse.Namespace) -> int:
    from sweep.data_check import check, check_text

    found = check(
        options.path,
        _names(options.labels),
        language=options.language,
        languages=_names(options.languages or ""),
        train=options.train,
        dev=options.dev,
        test=options.test,
    )
    if options.format == "json":
        print(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        print(check_text(found))
    return 1 if found.faults else 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _features(options: argparse.Namespace) -> int:
    from sweep.features import prepare

    count = prepare(load(options.sweep), storage=options.storage)
    print(f"{count:,} images are ready in {options.storage}")
    return 0
