"""Claims about pages of mixtures and of suites in a real browser, and about sorting and filtering by hand."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from search_spaces.transfer_grid import CellRole
from sweep.columns import IMPORTANCES
from sweep.findings import findings
from sweep.outcomes import Answers
from sweep.presets import SUITES
from sweep.report.build import Material, build
from sweep.report.page import render
from sweep.standing import CellInfo
from sweep.suite_results import SuiteResults
from tests.pure import fake_sweep as fake

TASKS = {"three": tuple("abc"), "four": tuple("abcd")}


def _trial(cell: str, number: int) -> dict:
    tasks = TASKS[cell]
    shares = {f"value.share.{task}": (1 + (number == place)) / (1 + len(tasks)) for place, task in enumerate(tasks)}
    row = {"cell": cell, "role": "transfer", "phase": "search", "number": number, "state": "finished", "reason": ""}
    rates = {"value.target.learning_rate": 1e-4 * (1 + number)}
    return {**row, "score": 0.5 + number / 10, **rates, **shares}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> str:
    """A report of two mixtures, with the importance of every parameter."""
    standing = fake.standing()
    cells = [CellInfo(name=name, role=CellRole.TRANSFER, intermediates=tasks) for name, tasks in TASKS.items()]
    standing = dataclasses.replace(standing, cells=(*standing.cells, *cells))
    tables = findings(standing, Answers(standing, fake.scores, fake.predictions), None)
    row = {"sweep": "fake", "target": "t", "trials": 12, "absent_reason": ""}
    known = [
        {**row, "cell": cell, "parameter": f"share.{task}", "importance": 1 / len(tasks)}
        for cell, tasks in TASKS.items()
        for task in tasks
    ]
    found = [_trial(cell, number) for cell in TASKS for number in range(3)]
    trials = pa.Table.from_pylist([dict.fromkeys(found[-1]) | row for row in found])
    page, _ = build(
        Material(
            standing=standing,
            findings={**tables, "importances": pa.Table.from_pylist(known, schema=IMPORTANCES)},
            trials=trials,
            stated={},
        )
    )
    path = tmp_path_factory.mktemp("mixed") / "report.html"
    path.write_text(render(page))
    return path.as_uri()


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> str:
    """The page of a suite of which two sweeps have been run."""
    folder = tmp_path_factory.mktemp("suite")
    given = SUITES["phang2020"]()
    for sweep in given.sweeps[:2]:
        fake.write(str(folder), sweep.name)
    SuiteResults.open(str(folder), given).report()
    return (folder / "suites" / given.name / "report.html").as_uri()


@pytest.fixture
def shown(browser):
    """Opens a page, which must be drawn without an error and without a network."""

    def show(url: str):
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.set_window_size(1200, 900)
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(url)
        assert browser.get_log("browser") == []
        assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
        asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
        assert [one for one in urls if not one.startswith(("file:", "data:"))] == []
        return browser

    return show


def _texts(page, selector: str) -> list[str]:
    return [found.text for found in page.find_elements(By.CSS_SELECTOR, selector) if found.is_displayed()]


def test_mixtures_and_importances_are_drawn_with_a_mark_for_each_trial_and_parameter(shown, mixed):
    page = shown(mixed)
    page.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    for name, marks in (("mixing_three", 3), ("mixing_four", 3), ("importances", 7)):
        figure = page.find_element(By.CSS_SELECTOR, f"#figure-{name} svg")
        assert figure.size["width"] > 200 and figure.size["height"] > 80, name
        assert len(page.find_elements(By.CSS_SELECTOR, f"#figure-{name} .mark")) == marks, name


def test_the_page_of_a_suite_is_drawn_and_leads_to_the_reports_of_its_sweeps(shown, suite):
    page = shown(suite)
    links = [one.get_attribute("href") for one in page.find_elements(By.CSS_SELECTOR, "a[href$='.html']")]
    assert len(links) == 2
    assert page.find_element(By.CSS_SELECTOR, "figure svg").size["width"] > 200
    for link in links:
        assert shown(link).find_elements(By.ID, "table-accuracy")


def test_a_chosen_cell_leaves_its_rows_alone(shown, url):
    page = shown(url)
    Select(page.find_element(By.ID, "cell")).select_by_value("nli")
    assert _texts(page, "#table-summary tbody th") == ["nli"]
    assert page.find_element(By.ID, "shown").text == "showing cell nli"


def test_numbers_sort_by_their_size_and_absences_come_last_both_ways(shown, url):
    page = shown(url)
    page.execute_script(
        "['1,200', '.', '80', '< 0.001', '35,000'].forEach((text, place) => {"
        " document.querySelectorAll('#table-accuracy tbody tr')[place].cells[1].textContent = text; })"
    )
    button = page.find_element(By.CSS_SELECTOR, "#table-accuracy thead th:nth-child(2) button")
    button.click()
    rising = ["< 0.001", "80", "1,200", "35,000"]
    assert _texts(page, "#table-accuracy tbody td:nth-child(2)") == [*rising, "."]
    button.click()
    assert _texts(page, "#table-accuracy tbody td:nth-child(2)") == [*rising[::-1], "."]
