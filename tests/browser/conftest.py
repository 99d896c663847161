"""A headless Chromium for the tests of pages; where none is installed they skip and say so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweep import Results
from tests.pure import fake_sweep as fake

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if found is None or driver is None:
        pytest.skip("no Chromium and chromedriver here; Debian has them as chromium and chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = found
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    page.set_page_load_timeout(60)
    yield page
    page.quit()


@pytest.fixture(scope="session")
def url(tmp_path_factory) -> str:
    """Where the report of a small sweep lies."""
    storage = tmp_path_factory.mktemp("report")
    fake.write(str(storage))
    return Path(Results.open(str(storage), "fake").report()[0]).as_uri()
