"""The explorer's page, and pages that were written to files, in a real browser."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hoptrail import Cost, Hit, Hop, Memory, Passage, Recall, Trail
from hoptrail.memory.testing.hash_encoder import HashEncoder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

PROGRAM = str(Path(__file__).with_name("explorer_process.py"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
NAMES = "[...new Set([...document.querySelectorAll('*')].map(e => e.localName))]"
COLOURS = "(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))"
QUESTION = "Into which lake flows the river of the town where Ada Lind was born?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a browser: install the system's package chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
        )
        yield launched
        launched.close()


@contextmanager
def explorer(path: Path, **settings: Any) -> Iterator[str]:
    """The address to open; the explorer ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-P", PROGRAM, str(path), json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """A page in a session of its own, in which nothing may fail and nothing may ask elsewhere."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda r: None if r.url.startswith(url[:20]) else complaints.append(r.url))
    page.goto(url)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def store(tmp_path, twelve) -> Path:
    path = tmp_path / "agent.db"
    with Memory(path, encoder=HashEncoder()) as memory:
        memory.add(twelve)
    return path


def wait_for(page: Page, selector: str, text: str) -> None:
    """Wait until an element holds a text: from outside, since the page evaluates nothing."""
    page.locator(selector, has_text=text).first.wait_for()


def names(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def test_a_person_asks_and_follows_the_walk_step_by_step_on_the_graph(browser, store) -> None:
    with explorer(store) as url, opened(browser, url) as page:
        page.wait_for_selector("#drawing .node")
        assert "12 passages" in page.inner_text("#memory")
        assert "token" not in page.url
        page.fill("#question", QUESTION)
        page.press("#question", "Enter")
        page.wait_for_selector(".walk-steps")
        hops = page.locator(".hop").count()
        assert hops >= 1
        assert names(page, ".hop.now .name") == names(page, ".hop .name")[:1]
        assert page.locator("#drawing .read").count() == 1
        page.locator(".next").click()
        if hops > 1:
            assert page.locator("#drawing .read").count() == 2
            assert page.locator("#drawing path.walk").count() == 1
            assert names(page, "#drawing .number") == ["1", "2"]
        while page.locator(".next").is_enabled():
            page.locator(".next").click()
        assert page.inner_text(".step") == "STOP"
        assert page.locator(".stop.now").count() == 1
        page.locator(".hits button").first.click()
        page.wait_for_selector("#passage h2")
        assert page.inner_text("#passage h2") == names(page, ".hits button")[0]
        assert page.locator("#drawing [aria-current=true]").count() == 1


def test_two_efforts_stand_side_by_side_with_ranks_of_the_other(browser, store) -> None:
    with explorer(store) as url, opened(browser, url) as page:
        page.wait_for_selector("#drawing .node")
        page.check("#comparing")
        page.select_option("#effort-beside", label="fast")
        page.fill("#question", QUESTION)
        page.press("#question", "Enter")
        page.wait_for_selector(".side >> nth=1")
        assert names(page, ".side h2") == ["balanced", "fast"]
        ranks = names(page, ".side >> nth=0 >> .hits .how")
        assert ranks
        assert all("with fast" in rank for rank in ranks)
        page.locator(".side >> nth=1 >> .next").click()
        assert page.locator(".side[data-active=true] h2").inner_text() == "fast"


def test_passages_are_edited_linked_forgotten_and_brought_back(browser, store) -> None:
    with explorer(store) as url, opened(browser, url) as page:
        page.wait_for_selector("#list li")
        page.locator("#list button", has_text="Tolle").first.click()
        page.get_by_role("button", name="Edit").click()
        page.fill("textarea", "Tolle is a port.\n\tIt has <b>ten</b> bells.")
        page.get_by_role("button", name="Save").click()
        wait_for(page, "#passage .text", "port")
        page.get_by_role("button", name="Link…").click()
        page.fill(".linking input >> nth=0", "p-varn")
        page.fill(".linking input >> nth=1", "near")
        page.locator(".linking button").click()
        page.wait_for_selector(".links li")
        assert "near → p-varn" in page.inner_text(".links li")
        page.get_by_role("button", name="Forget").click()
        wait_for(page, "#memory", "11 passages")
        for count, sentence in [(12, "linked"), (12, "changed"), (12, "Nothing to undo")]:
            page.locator("#undo").click()
            wait_for(page, "#undo", sentence)
            wait_for(page, "#memory", f"{count} passages")
    with Memory(store, encoder=None, policy=None) as memory:
        passage = memory.get("p-tolle")
        assert passage.text == "Tolle is a market town with a clock tower of seven bells."
        assert passage.links == ()


def test_the_keyboard_is_enough(browser, store) -> None:
    with explorer(store) as url, opened(browser, url) as page:
        page.wait_for_selector("#drawing .node")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        page.wait_for_selector("#help", state="hidden")  # a browser closes it in its own time
        page.keyboard.press("/")
        page.wait_for_selector("#question:focus")  # not by a script: the page's policy forbids eval
        page.keyboard.type(QUESTION)
        page.keyboard.press("Enter")
        page.wait_for_selector(".walk-steps")
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("n")
        assert page.inner_text(".step") != f"hop 1 of {page.locator('.hop').count()}"
        page.keyboard.press("p")
        assert page.inner_text(".step").startswith("hop 1 of")
        page.keyboard.press("g")
        first = page.evaluate("document.activeElement.getAttribute('aria-label')")
        moved = set()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
            page.keyboard.press(key)
            moved.add(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert len(moved | {first}) > 1
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.keyboard.press("Enter")
        page.wait_for_selector("#passage h2")
        assert label.startswith(page.inner_text("#passage h2"))
        page.keyboard.press("Delete")
        wait_for(page, "#memory", "11 passages")
        page.keyboard.press("u")
        wait_for(page, "#memory", "12 passages")


def test_hostile_texts_run_nothing_in_the_explorer(browser, tmp_path, markup_texts) -> None:
    path = tmp_path / "hostile.db"
    records = [
        {"id": f"{n}{text}".replace("\x00", ""), "title": text, "text": f"{text} Varn {n}"}
        for n, text in enumerate(t.replace("\x00", "") for t in markup_texts)
    ]
    for before, after in itertools.pairwise(records):
        before["links"] = [{"target": after["id"], "kind": "<img src=x onerror=window.pwned=1>"}]
        before["metadata"] = {"</script>": before["text"]}
    with Memory(path, encoder=HashEncoder()) as memory:
        memory.add(records)
        page_of_memory = tmp_path / "memory.html"
        page_of_memory.write_text(memory.to_html(most=200), encoding="utf-8")
    with explorer(path) as url, opened(browser, url) as page:
        page.wait_for_selector("#drawing .node")
        elements = page.evaluate(NAMES)
        page.fill("#question", f"{markup_texts[0]} Varn?")
        page.press("#question", "Enter")
        page.wait_for_selector(".walk-steps")
        for place in range(0, 50, 7):
            page.locator("#list button").nth(place).click()
            page.wait_for_timeout(100)
        page.wait_for_selector("#passage .links")
        assert page.evaluate("window.pwned") is None
        after = page.evaluate(NAMES)
        assert not {"img", "iframe", "base", "object"} & {*elements, *after}
        assert page.locator("body script, body style, body meta").count() == 0
    with opened(browser, page_of_memory.as_uri()) as page:
        assert page.evaluate("window.pwned") is None
        assert page.locator("script, img, iframe, base").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_recall_s_page_is_legible_and_runs_nothing(
    browser, tmp_path, markup_texts, scheme
) -> None:
    passages = [
        Passage(f"{n}", text, title=text, namespace=(text,), metadata={text: text})
        for n, text in enumerate(markup_texts)
    ]
    hops = tuple(Hop(f"{p.text}?", p.id, p.text, 0.5, 0.5, p.namespace) for p in passages)
    recall = Recall(
        markup_texts[0],
        tuple(Hit(p, 0.5, p.text) for p in passages),
        (Trail(hops, 0.5, "policy", 0.9), Trail(hops[:3], 0.2, "budget", 0.1)),
        Cost(1.0, 1, 1, 1),
    )
    file = tmp_path / "recall.html"
    file.write_text(recall.to_html(), encoding="utf-8")
    with opened(browser, file.as_uri()) as page:
        page.emulate_media(color_scheme=scheme)
        page.locator("summary").first.click()
        assert page.evaluate("window.pwned") is None
        assert page.locator("script, img, iframe, base, svg").count() == 0
        ink, paper = page.evaluate(COLOURS)
        dark = sum(map(int, paper[4:-1].split(","))) < sum(map(int, ink[4:-1].split(",")))
        assert dark is (scheme == "dark")
        width = page.evaluate("[document.body.scrollWidth, innerWidth]")
        assert width[0] <= width[1]
