"""The page in a real browser, without a network: no error, sorting, filtering, both themes, keyboard, phone, paper."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browsing, find_chromium
from few_records import copy_comparison
from stored_records import change

from ablations.page_parts import page_parts
from bench.report.page.building import Asked, write_page
from bench.report.render import results_tables

pytestmark = pytest.mark.slow
ODD = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>\"'&amp; {{ 7*7 }}"
PARAMS = "[...document.querySelectorAll('#leaders th button')].find(b => b.textContent.startsWith('Params'))"
ROWS = "[...document.querySelector('#leaders table').tBodies[0].rows]"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    models = ("mednext_tiny", "resnet10t", "deit_tiny", "mobilenetv3_small")
    results = copy_comparison(folder / "results", "ff006374aa7c", models)
    for path in (results / "runs" / "msld" / "deit_tiny").rglob("record.json"):
        change(path, "model", "title", to=ODD)
    tables, notes = results_tables(results)
    return write_page(tables, Asked(results, parts=page_parts(results, tables)), folder / "report.html", notes)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with browsing(program) as browser:
        yield browser


def columns(browser: Browser) -> list[float]:
    header = browser.value(f"{PARAMS}.parentElement.cellIndex")
    return browser.value(f"{ROWS}.map(row => Number(row.cells[{header}].dataset.n))")


def test_a_click_sorts_by_figures_and_says_so(browser: Browser, page: Path) -> None:
    browser.open(page, 1440)
    browser.value(f"{PARAMS}.click()")
    assert browser.value(f"{PARAMS}.parentElement.ariaSort") == "descending"
    assert columns(browser) == sorted(columns(browser), reverse=True)
    browser.value(f"{PARAMS}.click()")
    assert browser.value(f"{PARAMS}.parentElement.ariaSort") == "ascending"
    assert columns(browser) == sorted(columns(browser))
    assert len(set(columns(browser))) == 4
    assert "ascending" in browser.value("document.querySelector('#said').textContent")
    assert browser.troubles == []


def test_the_keyboard_reaches_a_header_and_sorts(browser: Browser, page: Path) -> None:
    browser.open(page, 1440)
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.className") == "skip"
    browser.value("document.querySelector('#leaders th button').focus()")
    browser.press("Enter", 13)
    names = browser.value(f"{ROWS}.map(row => row.cells[0].textContent.trim())")
    assert browser.value("document.querySelector('#leaders th').ariaSort") == "ascending"
    assert len(names) == 4
    assert names[-1].startswith("ResNet")
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_filter_leaves_the_rows_that_have_all_words(browser: Browser, page: Path) -> None:
    browser.open(page, 1440)
    for words, left in (("resnet", 1), ("short resnet-10", 1), ("short", 4), ("msld nothing", 0), ("", 4)):
        field = "document.querySelector('#filter')"
        browser.value(f"{field}.value = {json.dumps(words)}; {field}.dispatchEvent(new Event('input'))")
        time.sleep(0.3)
        assert browser.value(f"{ROWS}.filter(row => row.checkVisibility()).length") == left, words
    assert browser.troubles == []


@pytest.mark.parametrize("dark", [False, True])
def test_both_themes_are_readable_and_the_button_turns_one_into_the_other(
    browser: Browser, page: Path, dark: bool
) -> None:
    browser.open(page, 1440, dark=dark)
    contrast = """(() => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
          .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return [...document.querySelectorAll('p, h1, h2, h3, li, td, th, figcaption, a, button, svg text')]
        .filter((e) => !e.closest('.skip') && e.getAttribute('fill') === null)
        .map((e) => light(e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color))
        .map((ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05))
        .reduce((a, b) => Math.min(a, b));
    })()"""
    before = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (before == "rgb(255, 255, 255)") is not dark
    assert browser.value(contrast) >= 4.5
    browser.value("document.querySelector('#theme').click()")
    assert browser.value("getComputedStyle(document.body).backgroundColor") != before
    assert browser.value(contrast) >= 4.5
    assert browser.troubles == []


def test_a_phone_scrolls_tables_and_not_the_page(browser: Browser, page: Path) -> None:
    browser.open(page, 390, 844)
    browser.value("document.querySelector('#unfold').click()")
    assert browser.value("document.documentElement.scrollWidth") <= 390
    assert browser.value("[...document.querySelectorAll('figure')].every(f => f.getBoundingClientRect().width <= 390)")
    smallest = "Math.min(...[...document.querySelectorAll('svg')].map(s => s.getScreenCTM().a * 7))"
    assert browser.value(smallest) > 9, "pixels of the smallest text"
    assert browser.value("document.querySelector('#leaders .scroll').scrollWidth") > 390


def test_names_run_nothing_and_tables_and_figures_have_names_for_a_screen_reader(browser: Browser, page: Path) -> None:
    browser.open(page, 1440)
    assert browser.value("document.images.length") == 0
    assert browser.value(f"document.body.innerText.includes({json.dumps(ODD)})")
    browser.value("document.querySelector('#unfold').click()")
    nodes = browser.tell("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            name = str(node.get("name", {}).get("value", ""))
            roles.setdefault(str(node["role"]["value"]), []).append(name)
    pictures = roles.get("image", []) + roles.get("img", []) + roles.get("SvgRoot", [])
    strips = [name for name in roles.get("group", []) if len(name) > 40]
    assert len(pictures) + len(strips) >= 7
    assert strips, "a strip's points have names of their own"
    assert all(len(name) > 40 for name in pictures)
    assert len(roles["columnheader"]) > 30
    assert len(roles["rowheader"]) > 20
    assert browser.troubles == []


def test_all_blocks_are_open_on_paper(browser: Browser, page: Path) -> None:
    browser.open(page, 1440)
    is_open = "[...document.querySelectorAll('details')].filter(d => d.open).length"
    few, every = browser.value(is_open), browser.value("document.querySelectorAll('details').length")
    assert few < every
    browser.value("window.seen = 0; addEventListener('beforeprint', () => { window.seen = " + is_open + "; })")
    pdf = base64.b64decode(browser.tell("Page.printToPDF", printBackground=False)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3
    assert browser.value("window.seen") == every
    assert browser.value(is_open) == few


def test_a_table_is_downloaded_as_a_file(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(page, 1440)
    for form in ("csv", "json", "tex"):
        browser.value(f"document.querySelector('#leaders button[data-form={form}]').click()")
        end = time.monotonic() + 20
        while not (files := list(tmp_path.glob(f"*.{form}"))) and time.monotonic() < end:
            time.sleep(0.1)
        stored = json.loads(browser.value("document.querySelector('#downloads').textContent"))
        assert [file.read_bytes().decode() for file in files] == [of_table[form] for of_table in stored.values()]
    assert browser.troubles == []
