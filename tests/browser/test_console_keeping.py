"""What the playground keeps, shows and exports, beyond one request."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from support.browser import Visit

pytestmark = pytest.mark.browser

KEPT = "localStorage.getItem('rerankd.playground')"


def deploy_again(url: str) -> None:
    """Serve the embedded model under a second name."""
    body = {"model": "rerank-mini-en", "id": "again"}
    with httpx.stream("GET", f"{url}/v1/deployments/events") as events:
        httpx.post(f"{url}/v1/deployments", json=body).raise_for_status()
        next(line for line in events.iter_lines() if "again" in line and '"ready"' in line)


def saved(page: Page, name: str) -> Path:
    """Return the file that a button of the export saves."""
    with page.expect_download() as download:
        page.get_by_role("group", name="Export").get_by_role("button", name=name).click()
    return Path(download.value.path())


def test_form_and_results_survive_a_reload(visit: Visit) -> None:
    """Both are there again, without another request; a changed form is kept without them."""
    visit.open()
    visit.page.get_by_label("Query").fill("what do bears eat?")
    visit.rank()
    before = visit.ranked
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.page.reload()

    expect(visit.page.get_by_label("Query")).to_have_value("what do bears eat?")
    assert visit.ranked == before
    assert not any("/v1/rerank" in url for url in asked)
    visit.page.get_by_role("link", name="Catalog").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Catalog")
    visit.page.get_by_role("link", name="Playground").click()
    assert visit.ranked == before
    visit.page.get_by_label("Query").fill("another")
    visit.page.reload()
    expect(visit.page.get_by_label("Query")).to_have_value("another")
    expect(visit.page.get_by_text("The ranking appears here")).to_be_visible()


def test_earlier_runs_come_back_and_can_be_cleared(visit: Visit) -> None:
    """A run brings back its form and its answer; clearing leaves nothing in the browser."""
    visit.open()
    for query in ("first question", "second question"):
        visit.page.get_by_label("Query").fill(query)
        visit.rank()
        option = visit.page.locator("#history option", has_text=query)
        expect(option).to_have_count(1)
    visit.page.get_by_label("Earlier runs").select_option("1")
    expect(visit.page.get_by_label("Query")).to_have_value("first question")
    expect(visit.page.locator(".ranked")).to_have_count(6)
    visit.page.get_by_role("button", name="Clear").click()

    expect(visit.page.get_by_label("Query")).to_have_value("What is a panda?")
    expect(visit.page.locator(".ranked")).to_have_count(0)
    expect(visit.page.get_by_label("Earlier runs")).to_be_hidden()
    assert visit.page.evaluate(KEPT) is None


def test_what_is_kept_is_bounded(visit: Visit) -> None:
    """Ten runs, and never more than two million characters."""
    visit.open()
    script = """async size => {
        const { keepRun, keptRuns } = await import('/static/console/playground_store.js');
        const ended = [{ text: 'x'.repeat(size) }];
        for (let run = 0; run < 15; run += 1) keepRun({ query: String(run) }, ended);
        return keptRuns().map(run => run.draft.query);
    }"""
    few = visit.page.evaluate(script, 10)
    large = visit.page.evaluate(script, 600_000)
    huge = visit.page.evaluate(script, 3_000_000)

    assert few == [str(run) for run in range(14, 4, -1)]
    assert large == ["14", "13", "12"]
    assert huge == []


def test_results_are_exported(visit: Visit) -> None:
    """JSON has request and answer, CSV a row for each result that no spreadsheet runs."""
    visit.open()
    visit.page.get_by_label("Documents", exact=True).fill('a panda is a bear\n=1+1, "x"')
    visit.rank()
    assert len(visit.ranked) == 2
    found = json.loads(saved(visit.page, "JSON").read_text("utf-8"))
    text = saved(visit.page, "CSV").read_text("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    visit.page.get_by_role("group", name="Export").get_by_role("button", name="curl").click()
    expect(visit.page.locator(".toast")).to_have_text("curl command copied")

    assert found["request"]["documents"] == ["a panda is a bear", '=1+1, "x"']
    assert [one["index"] for one in found["answer"]["results"]] == [
        int(row["index"]) for row in rows
    ]
    assert sorted(row["text"] for row in rows) == ['\'=1+1, "x"', "a panda is a bear"]
    assert "curl " in str(visit.page.evaluate("navigator.clipboard.readText()"))


def test_two_models_stand_side_by_side_at_1280_pixels(visit: Visit) -> None:
    """Neither is below the other, and nothing overhangs."""
    deploy_again(visit.url)
    visit.page.set_viewport_size({"width": 1280, "height": 800})
    visit.open()
    visit.page.get_by_label("Compare with").select_option("again")
    visit.rank()
    answers = visit.page.locator(".answer")
    expect(answers).to_have_count(2)
    first, second = (answers.nth(place).bounding_box() for place in range(2))

    assert first
    assert second
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] <= second["x"]
    assert visit.overhang == 0
    expect(answers.nth(1).locator(".arrows")).to_contain_text("against the first model’s order")


def test_documents_are_numbered_as_results_name_them(visit: Visit) -> None:
    """Empty lines are no documents; the list has the numbers of the results."""
    visit.open()
    visit.page.get_by_label("Documents", exact=True).fill("a lamp\n\n\nthe panda is a bear\n")
    visit.page.get_by_text("Numbered, as results name them").click()
    expect(visit.page.locator(".numbered .label")).to_have_text(["a lamp", "the panda is a bear"])
    expect(visit.page.locator(".numbered .which")).to_have_text(["1", "2"])
    visit.rank()

    expect(visit.page.locator(".ranked .from").first).to_have_text("document 2")
    expect(visit.page.locator(".arrows")).to_contain_text("against the order you gave")


def test_broken_json_lines_are_not_ranked(visit: Visit) -> None:
    """The line is named, nothing is sent."""
    visit.open()
    visit.page.get_by_label("Documents", exact=True).fill('{"text": "one"}\n{"text": "two"\nthree')
    visit.rank()

    expect(visit.part("documentsFault")).to_contain_text("Line 2 is not valid JSON")
    expect(visit.page.locator(".ranked")).to_have_count(0)


def test_texts_run_as_their_script_does(visit: Visit) -> None:
    """Hebrew runs from right to left in the form and in the ranking, English beside it doesn't."""
    visit.open()
    visit.page.get_by_label("Query").fill("מה זה פנדה?")
    visit.page.get_by_label("Documents", exact=True).fill('["פנדה היא דוב", "a lamp"]')
    visit.rank()
    assert len(visit.ranked) == 2
    way = "element => getComputedStyle(element).direction"
    ways = {
        visit.page.locator(".ranked .words", has_text=text).evaluate(way)
        for text in ("פנדה", "lamp")
    }

    assert visit.page.get_by_label("Query").evaluate(way) == "rtl"
    assert ways == {"rtl", "ltr"}


def test_a_whole_document_that_is_the_best_passage_is_said(visit: Visit) -> None:
    """In chunks "as fit", short documents are one passage; the page says so."""
    visit.open()
    visit.page.get_by_label("Long documents").select_option("chunk")
    visit.rank()

    expect(visit.page.locator(".ranked .below").first).to_contain_text("the whole document")
