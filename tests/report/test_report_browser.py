"""The page in a real browser: sorting, filtering, keyboard, phone width, dark and light, and no request at all.

Needs Chromium, its driver and selenium (the dev extra); AXE_CORE, the path of axe.min.js, adds axe's own rules.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

selenium = pytest.importorskip("selenium", reason="selenium is not installed (dev extra)")
if shutil.which("chromedriver") is None:
    pytest.skip("chromedriver is not installed", allow_module_level=True)

from selenium import webdriver  # noqa: E402 (asked for first)
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

OPEN_ALL = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"
BREAKS_OUT = """return [...document.querySelectorAll("body *")].filter(
    (element) => !element.closest(".scroll, .plot, .skip") && element.getBoundingClientRect().right > innerWidth + 1
).length"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, written: Path) -> Any:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get((written / "index.html").as_uri())
    return browser


def rows(page: Any) -> list[str]:
    """Names of the rows one sees in the first table."""
    names = page.find_elements(By.CSS_SELECTOR, "#results-1 tbody tr:not([hidden]) th a")
    return [name.text for name in names]


def head(page: Any, metric: str) -> Any:
    return page.find_element(By.CSS_SELECTOR, f'#results-1 th[data-metric="{metric}"]')


def test_no_request_leaves_the_file_and_the_console_is_silent(page: Any) -> None:
    head(page, "cv@5[pop]").find_element(By.TAG_NAME, "button").click()
    sent = [
        entry["message"] for entry in page.get_log("performance") if 'Network.requestWillBeSent"' in entry["message"]
    ]
    assert len([message for message in sent if '"url":"file:' in message]) == 1
    assert not [message for message in sent if '"url":"http' in message]
    assert page.get_log("browser") == []


def test_the_policy_stops_scripts_and_requests_that_are_not_the_pages(page: Any) -> None:
    page.execute_script(
        "const added = document.createElement('script'); added.textContent = 'window.broken = 1';"
        "document.body.append(added); const image = new Image(); image.src = 'http://127.0.0.1:9/x.png';"
    )
    assert page.execute_script("return window.broken ?? null") is None
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_sorting_by_click_and_by_keyboard(page: Any) -> None:
    assert rows(page) == ["BiFairMF", "MF", "Pop", "Yes", "Slow", "Wild"]
    assert head(page, "recall@5").get_attribute("aria-sort") == "descending"
    button = head(page, "cv@5[pop]").find_element(By.TAG_NAME, "button")
    button.click()
    assert rows(page) == ["Yes", "BiFairMF", "MF", "Pop", "Slow", "Wild"]
    assert head(page, "cv@5[pop]").get_attribute("aria-sort") == "ascending"
    assert head(page, "recall@5").get_attribute("aria-sort") is None
    button.send_keys(Keys.ENTER)
    assert rows(page) == ["Pop", "MF", "BiFairMF", "Yes", "Slow", "Wild"]
    assert head(page, "cv@5[pop]").get_attribute("aria-sort") == "descending"
    assert "cv@5[pop]" in page.find_element(By.ID, "status").text
    page.find_element(By.CSS_SELECTOR, "#results-1 thead th button").click()
    assert rows(page) == ["BiFairMF", "MF", "Pop", "Slow", "Wild", "Yes"]


def test_filters_by_model_strategy_and_data_set(page: Any) -> None:
    model, strategy = (page.find_element(By.NAME, name) for name in ("model", "strategy"))
    model.send_keys("mf")
    assert rows(page) == ["BiFairMF", "MF"]
    assert page.find_element(By.ID, "status").text == "2 of 6 rows shown."
    strategy.send_keys("BIFAIR")
    assert rows(page) == ["BiFairMF"]
    model.clear()
    strategy.clear()
    strategy.send_keys(" ")
    assert len(rows(page)) == 6
    page.find_element(By.CSS_SELECTOR, 'select[name="dataset"] option[value="planted"]').click()
    assert len(rows(page)) == 6


def test_metrics_are_chosen(page: Any) -> None:
    page.find_element(By.CSS_SELECTOR, "#controls summary").click()
    page.find_element(By.CSS_SELECTOR, 'input[value="cv@5[pop]"]').click()
    assert not head(page, "cv@5[pop]").is_displayed()
    assert not any(cell.is_displayed() for cell in page.find_elements(By.CSS_SELECTOR, 'td[data-metric="cv@5[pop]"]'))
    assert head(page, "recall@5").is_displayed()
    page.find_element(By.CSS_SELECTOR, 'input[value="cv@5[pop]"]').send_keys(Keys.SPACE)
    assert head(page, "cv@5[pop]").is_displayed()


def test_the_keyboard_starts_at_the_skip_link_and_its_focus_is_seen(page: Any) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    first = page.switch_to.active_element
    assert first.text == "Skip to the results"
    assert first.rect["x"] >= 0
    assert first.value_of_css_property("outline-style") == "solid"
    first.send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "results"


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_colour_schemes(page: Any, width: int, scheme: str) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.execute_script(OPEN_ALL)
    assert page.execute_script("return innerWidth") == width
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.execute_script(BREAKS_OUT) == 0
    red, green, blue = page.execute_script(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue > 600) is (scheme == "light")
    ink = "return getComputedStyle(document.querySelector('figure text')).fill"
    assert (sum(map(int, page.execute_script(ink)[4:-1].split(","))) > 384) is (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, scheme: str) -> None:
    path = os.environ.get("AXE_CORE")
    if not path:
        pytest.skip("AXE_CORE does not name an axe.min.js")
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.execute_script(OPEN_ALL)
    page.execute_cdp_cmd("Runtime.evaluate", {"expression": Path(path).read_text()})
    found = page.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:2]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 20
