"""The playground: requests, rankings, comparisons, code and links."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from support.browser import Visit, visiting
from support.serving import FakeEngine, server_of, service_of

pytestmark = pytest.mark.browser

PANDA = "The giant panda (Ailuropoda melanoleuca) is a bear species endemic to China."
BASH = shutil.which("bash") or "/bin/sh"
LONG = f"{'The box holds a lamp. ' * 200}The battery lasts nine hours. {'Clean the glass. ' * 200}"


def test_the_example_is_ranked_with_the_panda_first(visit: Visit) -> None:
    """One click on the page as it opens gives a ranking, its cost, and what moved."""
    visit.open()
    visit.rank()

    assert visit.ranked[0] == PANDA
    first = visit.page.locator(".ranked").first
    assert "up 4 against the given order" in str(first.locator(".place").inner_text())
    assert float(first.locator(".score").inner_text().split()[-1]) > 0.5
    figures = visit.page.locator(".figures").inner_text()
    assert re.search(r"6 documents.*\d+ tokens.*ms on the CPU", figures, re.DOTALL)
    expect(visit.page.locator("#announcer")).to_have_text(
        "rerank-mini-en: 6 results, best is document 5."
    )


@pytest.mark.parametrize("size", [(1200, 780), (1280, 600), (390, 844)])
def test_the_form_fits_its_window(browser: Browser, url: str, size: tuple[int, int]) -> None:
    """Beside the results, its buttons stay in sight; above them, all is in the page's own flow."""
    with visiting(browser, url, size=size) as visit:
        visit.open()
        inside = visit.page.locator(".ask").evaluate(
            "form => form.scrollHeight > form.clientHeight"
        )
        wide = size[0] > 1000

        assert inside == wide
        if wide:
            expect(visit.page.locator("[data-part=query]")).to_be_in_viewport()
            expect(visit.page.locator("[data-part=run]")).to_be_in_viewport(ratio=1)
            visit.page.locator("[data-part=code] summary").scroll_into_view_if_needed()
            expect(visit.page.locator("[data-part=run]")).to_be_in_viewport(ratio=1)


def test_bars_are_as_long_as_scores(visit: Visit) -> None:
    """A probability's bar fills that share of its track."""
    visit.open()
    visit.rank()
    row = visit.page.locator(".ranked").nth(2)
    share = row.evaluate(
        "row => row.querySelector('.fill').offsetWidth / row.querySelector('.track').offsetWidth"
    )

    assert share == pytest.approx(float(row.locator(".score").inner_text().split()[-1]), abs=0.01)


def test_the_second_time_scores_come_from_the_cache(visit: Visit) -> None:
    """Cache hits are told."""
    visit.open()
    visit.rank()
    expect(visit.page.locator(".ranked")).to_have_count(6)
    visit.rank()

    expect(visit.page.locator(".figures")).to_contain_text("6 from the cache")


def test_top_n_and_raw_scores_are_sent(visit: Visit) -> None:
    """Fewer results, as logits, with bars on both sides of zero."""
    visit.open()
    documents = visit.page.get_by_label("Documents", exact=True)
    documents.fill(json.dumps(["hi", PANDA, "The bank raised its rates."]))
    visit.page.get_by_label("Top n").fill("2")
    visit.page.get_by_label("Raw scores").check()
    visit.rank()

    expect(visit.page.locator(".ranked")).to_have_count(2)
    expect(visit.page.locator(".figures")).to_contain_text("raw scores")
    expect(visit.page.locator(".fill.under")).to_have_count(1)


def test_deadline_and_threshold_are_sent(visit: Visit) -> None:
    """As the server names them, and only where they are given."""
    visit.open()
    bodies: list[dict[str, Any]] = []
    visit.page.on(
        "request", lambda one: bodies.append(one.post_data_json) if one.method == "POST" else None
    )
    visit.page.get_by_label("Deadline in ms").fill("60000")
    visit.page.get_by_label("When it comes").select_option("partial")
    visit.page.get_by_label("Least score").fill("0.5")
    visit.rank()
    expect(visit.page.locator(".figures")).to_contain_text("below min_score")
    visit.page.get_by_label("Deadline in ms").fill("1.5")
    visit.page.get_by_label("When it comes").select_option("")
    visit.page.get_by_label("Least score").fill("")
    visit.rank()
    expect(visit.page.locator(".ranked")).to_have_count(6)

    sent = [
        {name: one[name] for name in ("timeout_ms", "on_timeout", "min_score") if name in one}
        for one in bodies
    ]
    assert sent == [{"timeout_ms": 60000, "on_timeout": "partial", "min_score": 0.5}, {}]


def test_a_threshold_may_leave_nothing(visit: Visit) -> None:
    """That is said, also when two models are compared."""
    visit.open()
    visit.page.get_by_label("Least score").fill("2")
    visit.rank()

    expect(visit.page.get_by_text("No document has such a score")).to_be_visible()
    expect(visit.page.locator("#announcer")).to_contain_text("every document was dropped")


def test_what_is_known_of_a_model_s_scores_is_said(visit: Visit) -> None:
    """Beside its name before it is asked, and on its deployment."""

    def marked(route: Route) -> None:
        found = route.fetch().json()
        found["data"][0] |= {"marks": ["unproven"], "score_scale": "calibrated"}
        route.fulfill(json=found)

    visit.page.route("**/v1/models", marked)
    visit.open()

    expect(visit.page.locator("#model option")).to_have_text("rerank-mini-en (unproven)")
    expect(visit.part("aboutModel")).to_contain_text("it failed to put relevant texts first")
    expect(visit.part("aboutModel")).to_contain_text("Scores of rerank-mini-en are calibrated")


def test_documents_are_read_as_json_too(visit: Visit) -> None:
    """An array of texts and objects, JSON Lines from a file, and what is neither."""
    visit.open()
    documents = visit.page.get_by_label("Documents", exact=True)
    documents.fill(json.dumps(["a lamp", {"text": "a panda is a bear"}]))
    expect(visit.part("documentCount")).to_have_text("2 documents, JSON")
    visit.rank()
    assert visit.ranked[0] == "a panda is a bear"
    lines = '{"text": "one"}\n{"text": "two"}\n{"text": "three"}'
    visit.part("file").set_input_files(
        {"name": "some.jsonl", "mimeType": "text/plain", "buffer": lines.encode()}
    )
    expect(visit.part("documentCount")).to_have_text("3 documents, JSON Lines")
    documents.fill('["one", ')
    expect(visit.part("documentsFault")).to_contain_text("not valid JSON")
    documents.fill("[1, 2]")  # no array of texts: a line that begins with a bracket
    expect(visit.part("documentCount")).to_have_text("1 document")


def test_a_dropped_file_is_read(visit: Visit) -> None:
    """A file let fall on the form takes the place of the documents."""
    visit.open()
    dropped = visit.page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["a lamp\\na panda"], "some.txt"));
            return data;
        }"""
    )
    visit.part("form").dispatch_event("drop", {"dataTransfer": dropped})

    expect(visit.page.get_by_label("Documents", exact=True)).to_have_value("a lamp\na panda")


def test_what_is_missing_is_said_at_its_field(visit: Visit) -> None:
    """Nothing is sent without a query; the focus goes where something is to be done."""
    visit.open()
    visit.page.get_by_label("Query").fill(" ")
    visit.rank()

    expect(visit.page.get_by_text("Enter a query")).to_be_visible()
    expect(visit.page.get_by_label("Query")).to_be_focused()
    expect(visit.page.locator(".ranked")).to_have_count(0)


def test_refusals_are_told_in_words_with_their_code(browser: Browser, url: str) -> None:
    """The server's message, the field and the code stand where the ranking would."""
    with visiting(browser, url) as visit:
        visit.open()
        visit.page.get_by_label("Documents", exact=True).fill("\n".join(map(str, range(21))))
        visit.rank()
        alert = visit.part("answers").get_by_role("alert")

        expect(alert).to_contain_text("422 too_many_documents")
        assert len(visit.complaints) == 1  # the browser's own line about the status
        assert "422" in visit.complaints[0]


def test_long_documents_are_scored_in_chunks_with_the_passage_marked(visit: Visit) -> None:
    """The best passage is marked, and the whole document is a click away."""
    visit.open()
    visit.page.get_by_label("Query").fill("How long does the battery last?")
    visit.page.get_by_label("Documents", exact=True).fill(f"{LONG}\nThe lamp is made of oak.")
    visit.page.get_by_label("Long documents").select_option("chunk")
    visit.page.get_by_label("Tokens per chunk").fill("64")
    visit.page.get_by_label("Mark the best passage").check()
    visit.rank()

    mark = visit.page.locator(".ranked mark").first
    expect(mark).to_contain_text("The battery lasts nine hours.")
    expect(visit.page.locator(".figures")).to_contain_text("chunks")
    visit.page.get_by_role("button", name="Whole document").first.click()
    assert len(visit.page.locator(".ranked .words").first.inner_text()) > len(LONG) - 20


def test_cut_documents_are_marked(visit: Visit) -> None:
    """A document that was cut says so, in the list and above it."""
    visit.open()
    visit.page.get_by_label("Documents", exact=True).fill(f"{LONG}\nA lamp.")
    visit.rank()

    expect(visit.page.locator(".figures")).to_contain_text("1 document truncated")
    assert visit.page.locator(".ranked .badge", has_text="truncated").count() == 1


def test_two_models_are_compared_side_by_side(visit: Visit) -> None:
    """The second ranking says what differs from the first, and how far they agree."""
    body = {"model": "rerank-mini-en", "id": "again"}
    with httpx.stream("GET", f"{visit.url}/v1/deployments/events") as events:
        httpx.post(f"{visit.url}/v1/deployments", json=body).raise_for_status()
        next(line for line in events.iter_lines() if "again" in line and '"ready"' in line)
    visit.open()
    visit.page.get_by_label("Compare with").select_option("again")
    visit.rank()

    expect(visit.page.get_by_role("heading", name="again")).to_be_visible()
    expect(visit.page.locator(".ranked")).to_have_count(12)
    expect(visit.page.locator(".across")).to_contain_text("Kendall’s τ 1.00")
    visit.page.locator(".ranked").first.hover()
    expect(visit.page.locator(".ranked.twin")).to_have_count(2)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_copied_curl_gets_the_same_answer(visit: Visit) -> None:
    """What is copied runs as it is."""
    visit.open()
    visit.page.get_by_label("Query").fill("what's a panda?")
    visit.page.get_by_text("Code for this request").click()
    expect(visit.page.locator("#snippet")).to_contain_text("curl")
    visit.page.get_by_role("button", name="Copy Request").click()
    expect(visit.page.locator(".toast")).to_have_text("Request copied")
    command = str(visit.page.evaluate("navigator.clipboard.readText()"))
    done = subprocess.run(
        [BASH, "-c", command], capture_output=True, check=True, text=True, timeout=10
    )

    assert json.loads(done.stdout)["results"][0]["document"]["text"] == PANDA


def test_copied_python_runs(visit: Visit) -> None:
    """Python's tab has a program that prints the ranking."""
    visit.open()
    visit.page.get_by_text("Code for this request").click()
    visit.page.get_by_role("tab", name="curl").press("ArrowRight")
    expect(visit.page.get_by_role("tab", name="Python")).to_be_focused()
    expect(visit.page.locator("#snippet")).to_contain_text("import httpx")
    program = visit.page.locator("#snippet code").inner_text()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=20
    )

    assert done.stdout.startswith("4 0.9")


def test_a_link_brings_back_the_whole_request(visit: Visit, browser: Browser) -> None:
    """The fragment holds the form; who opens it sees the same ranking, and no server sees it."""
    visit.open()
    visit.page.get_by_label("Query").fill("Wie groß ist ein Panda? 🐼")
    visit.page.get_by_label("Top n").fill("2")
    visit.page.get_by_role("button", name="Copy link").click()
    expect(visit.page.locator(".toast")).to_have_text("Link copied")
    link = str(visit.page.evaluate("navigator.clipboard.readText()"))
    with visiting(browser, visit.url) as other:
        asked: list[str] = []
        other.page.on("request", lambda request: asked.append(request.url))
        other.page.goto(link)

        expect(other.page.get_by_label("Query")).to_have_value("Wie groß ist ein Panda? 🐼")
        assert len(other.ranked) == 2
        assert other.complaints == []
        fragment = link.partition("#")[2]
        assert not any(fragment in url.partition("#")[0] for url in asked)


def test_long_rankings_are_drawn_in_full_on_demand(browser: Browser, tmp_path: Path) -> None:
    """The first two hundred, and the rest after a click."""
    service = service_of(FakeEngine(), start=False, state_dir=str(tmp_path / "state"))
    with server_of(service) as url, visiting(browser, url) as visit:
        visit.open()
        visit.page.get_by_label("Documents", exact=True).fill("\n".join(map(str, range(250))))
        visit.rank()
        expect(visit.page.locator(".ranked")).to_have_count(200)
        visit.page.get_by_role("button", name="Show the other 50").click()

        expect(visit.page.locator(".ranked")).to_have_count(250)


PARSED = [
    ("", 0, "lines", False),
    ("  one \n\n two\r\n", 2, "lines", False),
    ("[1] a footnote\n[2] another", 2, "lines", False),
    ('["one", "two"]', 2, "JSON", False),
    ('[{"text": "one"}, "two"]', 2, "JSON", False),
    ("[]", 0, "JSON", False),
    ("[", 0, "JSON", True),
    ('["one", 2]', 0, "JSON", True),
    ('["one"', 0, "JSON", True),
    ('{"text": "one"}\n{"text": "two"}', 2, "JSON Lines", False),
    ('{"text": "one"}\n{text}', 0, "JSON Lines", True),
    ('{"text": "one"}\ntwo', 0, "JSON Lines", True),
    ('{"text": "one"}\n\n {"text": "two"}', 2, "JSON Lines", False),
    ('{"text": "one"', 0, "JSON Lines", True),
    ('{"query": "q", "documents": ["one", "two"]}', 2, "JSON request", False),
    ('{\n  "text": "one"\n}', 1, "JSON", False),
    ("{a brace} in a text\ntwo", 2, "lines", False),
]


def test_forms_of_documents_are_told_apart(visit: Visit) -> None:
    """Lines, arrays and JSON Lines; a fault is a message and no documents."""
    visit.open()
    script = """async texts => {
        const { parse } = await import('/static/console/documents.js');
        return texts.map(parse).map(found => [found.documents.length, found.form, !!found.fault]);
    }"""
    found = visit.page.evaluate(script, [text for text, *_ in PARSED])

    assert found == [list(expected) for _, *expected in PARSED]


def test_passages_are_cut_by_code_points(visit: Visit) -> None:
    """Offsets of the server count characters as Python does, also beyond the basic plane."""
    text = "🐼🐼 eats 竹子 e\u0301"
    visit.open()
    script = """async ([text, start, end]) => {
        const { cut } = await import('/static/console/documents.js');
        return Object.values(cut(text, start, end));
    }"""
    for start in range(len(text)):
        found = visit.page.evaluate(script, [text, start, start + 3])

        assert found == [text[:start], text[start : start + 3], text[start + 3 :]]


def test_a_broken_link_leaves_the_page_in_order(visit: Visit) -> None:
    """What is no request is said, and the example stands."""
    visit.open("playground", "/s=nonsense")

    expect(visit.page.locator(".toast")).to_contain_text("not contain a readable request")
    expect(visit.page.get_by_label("Query")).to_have_value("What is a panda?")


def test_the_draft_survives_a_look_at_another_page(visit: Visit) -> None:
    """What was typed is there again."""
    visit.open()
    visit.page.get_by_label("Query").fill("kept")
    visit.page.get_by_role("link", name="Catalog").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Catalog")
    visit.page.get_by_role("link", name="Playground").click()

    expect(visit.page.get_by_label("Query")).to_have_value("kept")


def test_it_runs_from_the_keyboard(visit: Visit) -> None:
    """Control and Enter send from within a field."""
    visit.open()
    visit.page.get_by_label("Query").press("Control+Enter")

    assert visit.ranked[0] == PANDA


@pytest.mark.parametrize(
    ("name", "best"),
    [("Support", "Forgot your"), ("Packages", "Turn a function"), ("Long document", "nine hours")],
)
def test_every_example_ranks_its_best_document_first(visit: Visit, name: str, best: str) -> None:
    """The examples that the page offers are worth a look."""
    visit.open()
    visit.page.get_by_role("button", name=name).click()

    expect(visit.page.locator(".ranked").first).to_contain_text(best)
