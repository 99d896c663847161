"""Claims about the report in a real browser: nothing fails or is fetched, and what can be touched works."""

from __future__ import annotations

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select


@pytest.fixture
def page(browser, url):
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1200, 900)
    browser.get_log("browser")
    browser.get(url)
    return browser


def _texts(page, selector: str) -> list[str]:
    return [found.text for found in page.find_elements(By.CSS_SELECTOR, selector) if found.is_displayed()]


def test_the_page_is_drawn_without_an_error_and_without_a_network(page):
    assert page.get_log("browser") == []
    assert page.execute_script("return document.documentElement.dataset.ready") == "yes"
    asked = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    for figure in page.find_elements(By.CSS_SELECTOR, "figure svg"):
        assert figure.size["width"] > 200 and figure.size["height"] > 80


def test_a_head_sorts_its_table_by_number_and_says_so(page):
    table = page.find_element(By.ID, "table-accuracy")
    button = table.find_element(By.CSS_SELECTOR, "thead th:nth-child(2) button")
    button.click()
    values = _texts(page, "#table-accuracy tbody td:nth-child(2)")
    assert values == sorted(values, key=lambda text: float(text.split()[0])) and len(values) == 5
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert _texts(page, "#table-accuracy tbody td:nth-child(2)") == values[::-1]


def test_a_chosen_language_leaves_its_rows_and_marks(page):
    Select(page.find_element(By.ID, "language")).select_by_value("de")
    assert _texts(page, "#table-transfer_matrix tbody th") == ["de"]
    dim = {mark.get_attribute("data-language") for mark in page.find_elements(By.CSS_SELECTOR, ".mark.dim")}
    assert "de" not in dim and {"en", "th"} <= dim
    assert page.find_element(By.ID, "shown").text == "showing language de"


def test_a_mark_tells_its_numbers_to_the_keyboard(page):
    mark = page.find_element(By.CSS_SELECTOR, "#figure-transfer_matrix .mark[tabindex='0']")
    page.execute_script("arguments[0].focus()", mark)
    tip = page.find_element(By.ID, "tip")
    first = tip.text
    assert "gain" in first and "[" in first
    mark.send_keys(Keys.ARROW_DOWN)
    assert tip.text != first and "gain" in tip.text
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_a_screen_reader_finds_every_mark_within_its_figure(page):
    nodes = {node["nodeId"]: node for node in page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]}

    def value(node: dict, name: str) -> str:
        return str(node.get(name, {}).get("value", ""))

    def within(node: dict) -> list[str]:
        below = [nodes[child] for child in node.get("childIds", ()) if child in nodes]
        return [value(one, "name") for one in below if value(one, "role") == "image" and not one["ignored"]] + [
            name for one in below for name in within(one)
        ]

    figures = [node for node in nodes.values() if value(node, "name") == "Gain by intermediate training and language"]
    assert [value(node, "role") for node in figures] == ["group"]
    marks = page.find_elements(By.CSS_SELECTOR, "#figure-transfer_matrix .mark")
    assert sorted(within(figures[0])) == sorted(mark.get_attribute("data-text") for mark in marks) != []


def test_light_and_dark_have_ink_that_can_be_read(page):
    contrasts = []
    for theme in ("light", "dark"):
        Select(page.find_element(By.ID, "theme")).select_by_value(theme)
        colours = page.execute_script(
            "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
        )
        ink, paper = (_luminance(colour) for colour in colours)
        contrasts.append((max(ink, paper) + 0.05) / (min(ink, paper) + 0.05))
        text = page.find_element(By.CSS_SELECTOR, "#figure-optimism svg text")
        assert _luminance(text.value_of_css_property("fill")) == pytest.approx(ink, abs=0.01)
    assert min(contrasts) > 10


def _luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    numbers = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in numbers]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_phone_scrolls_down_and_never_sideways(page):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390


def test_what_cannot_be_run_is_not_run(page):
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)"
    )
    assert page.execute_script("return window.bad") is None
