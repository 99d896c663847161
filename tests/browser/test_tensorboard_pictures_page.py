"""Claims about TensorBoard in a real browser: the pictures of a sweep are drawn and its definition can be read."""

from __future__ import annotations

import time

import pyarrow.fs as pafs
import pytest

from sweep.records import Phase, State
from sweep.tensorboard import SweepWriter
from sweep.tensorboard_pictures import Painter, definition_text
from tests.browser.test_tensorboard_page import _text_with
from tests.libraries import test_tensorboard as one
from tests.libraries.test_tensorboard_whole import lab  # noqa: F401 - a fixture

#: Every picture of the page and of its shadow trees: its natural width, 0 until it is there.
_PICTURES = """
const found = [];
const look = (node) => {
  if (node.tagName === "IMG" && node.src.includes("/data/plugin/images/")) found.push(node.naturalWidth);
  if (node.shadowRoot) look(node.shadowRoot);
  node.childNodes.forEach(look);
};
look(document.body);
return found;
"""


@pytest.fixture(scope="module")
def server(lab, tmp_path_factory):  # noqa: F811
    from tensorboard import default, program

    logdir = tmp_path_factory.mktemp("pictures")
    SweepWriter(logdir, one._sweep(), text=definition_text(lab.stated())).close()
    painter = Painter(lab, pafs.LocalFileSystem(), str(logdir))
    painter.ended(one._record("nli", 0, one.NLI, State.FINISHED, phase=Phase.CONFIRMATION), one.PATH, ())
    painter.close()
    board = program.TensorBoard(plugins=default.get_plugins())
    board.configure(argv=["tensorboard", "--logdir", str(logdir), "--port", "0", "--load_fast", "false"])
    return board.launch()


def test_the_matrix_and_the_examples_are_pictures_on_the_page(browser, server):
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1600, 1400)
    browser.get(f"{server}#images")
    _text_with(browser, ["transfer_matrix", "examples"])
    until = time.monotonic() + 60
    widths: list[int] = []
    while time.monotonic() < until and not (len(widths) >= 2 and all(width > 400 for width in widths)):
        widths = browser.execute_script(_PICTURES)
        time.sleep(0.3)
    assert len(widths) >= 2 and all(width > 400 for width in widths)


def test_the_definition_and_the_words_of_examples_are_texts_on_the_page(browser, server):
    browser.get(f"{server}#text")
    text = _text_with(browser, ["search trials", "confirmed with the seeds", "the object", "✗", "das objekt"])
    assert "hypothesis_only" in text
