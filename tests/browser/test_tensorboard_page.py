"""Claims about TensorBoard in a real browser: its HParams page has every searched parameter of every trial."""

from __future__ import annotations

import time

import pytest

from tests.libraries.test_tensorboard import PARAMETERS, logdir  # noqa: F401 - a fixture

#: The text of a page with all that its components keep in shadow trees.
_TEXT = """
const read = (node) => {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent;
  if (["STYLE", "SCRIPT", "TEMPLATE"].includes(node.tagName)) return "";
  const root = node.shadowRoot ? read(node.shadowRoot) : "";
  return root + [...node.childNodes].map(read).join(" ");
};
return read(document.body).replace(/\\s+/g, " ");
"""

#: Every piece of text of a page with the left end of the place where it stands.
_PLACES = """
const found = [];
const read = (node) => {
  if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) {
    const range = document.createRange();
    range.selectNodeContents(node);
    const place = range.getBoundingClientRect();
    if (place.width) found.push([node.textContent.trim(), place.left]);
  }
  if (node.nodeType === Node.TEXT_NODE || ["STYLE", "SCRIPT", "TEMPLATE"].includes(node.tagName)) return;
  if (node.shadowRoot) read(node.shadowRoot);
  node.childNodes.forEach(read);
};
read(document.body);
return found;
"""


@pytest.fixture(scope="module")
def server(logdir):  # noqa: F811
    from tensorboard import default, program

    board = program.TensorBoard(plugins=default.get_plugins())
    arguments = ["tensorboard", "--logdir", str(logdir), "--port", "0", "--load_fast", "false", "--host", "127.0.0.1"]
    board.configure(argv=arguments)
    return board.launch()


def _text_with(browser, wanted: list[str], seconds: float = 60) -> str:
    """The text of the page, once it has all that is wanted."""
    until = time.monotonic() + seconds
    text = ""
    while time.monotonic() < until:
        text = browser.execute_script(_TEXT)
        if all(one in text for one in wanted):
            return text
        time.sleep(0.3)
    missing = [one for one in wanted if one not in text]
    raise AssertionError(f"the page lacks {missing}: {text[:2000]}")


def test_the_hparams_table_has_every_parameter_and_every_trial(browser, server):
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(2400, 1400)
    browser.get(f"{server}#hparams")
    trials = ["none/search-0", "none/search-1", "nli/search-0", "nli/search-1", "nli/search-2"]
    text = _text_with(browser, [*PARAMETERS, "English dev accuracy"])
    assert "No hparams data was found" not in text
    _text_with(browser, trials)
    _text_with(browser, ["0.70000", "0.40000"])  # selected scores, not last ones
    assert _column_of(browser, "0.70000") == "English dev accuracy"
    assert _column_of(browser, "0.40000") == "dev accuracy when pruned"
    assert _column_of(browser, "50.000") == "pruned at step"


def _column_of(browser, value: str) -> str:
    """The head of the column of metrics in which a value stands."""
    heads = ("English dev accuracy", "dev accuracy when pruned", "pruned at step")
    places = browser.execute_script(_PLACES)
    (left,) = {place for text, place in places if text == value}
    return min((abs(place - left), text) for text, place in places if text in heads)[1]
