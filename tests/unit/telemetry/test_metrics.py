"""Prometheus metrics: what they count, that their labels are bounded, and their two documents."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from rerankd.domain import Outcome, StepFacts, Timings
from rerankd.telemetry.gauges import Snapshot
from rerankd.telemetry.metrics import MOST_MODELS, OTHER, Answer, Metrics
from rerankd.telemetry.observers import Telemetry

from support.fakes import PATIENCE, Gate
from support.outcomes import outcome
from support.places import ROOT
from support.serving import FakeEngine, client_of, rerank, server_of, service_of

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
STEP = StepFacts(requests=2, documents=3, tokens=48, budget=64, seconds=0.02)


def families(metrics: Metrics) -> dict[str, Metric]:
    """Return what is exported, by the name of the family."""
    text = metrics.render(Snapshot())[0].decode()
    return {one.name: one for one in text_string_to_metric_families(text)}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a sample's value, None where there is none."""
    return _value(metrics.render(Snapshot())[0].decode(), name, **labels)


def _value(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def used() -> Metrics:
    """Return metrics that have counted something of each kind."""
    metrics = Metrics()
    metrics.ranked(outcome("m", "key-id", documents=3, cached=1, seconds=0.03))
    metrics.ranked(outcome("m", "key-id", error="queue_full"))
    metrics.stepped("m", STEP)
    metrics.answered(Answer(method="POST", route="/v1/rerank", status=200, seconds=0.1))
    return metrics


# Counting


def test_a_ranking_is_counted_with_its_parts() -> None:
    """Requests, documents, tokens, cached ones and times go up by what was done."""
    metrics = used()

    assert {
        name: value(metrics, f"rerankd_{name}", model="m")
        for name in (
            *("requests_total", "documents_total", "tokens_total", "cached_documents_total"),
            *("chunks_total", "request_seconds_count", "engine_seconds_count"),
        )
    } == {
        "requests_total": 2,
        "documents_total": 3,
        "tokens_total": 30,
        "cached_documents_total": 1,
        "chunks_total": 3,
        "request_seconds_count": 2,
        "engine_seconds_count": 1,
    }
    assert value(metrics, "rerankd_errors_total", model="m", code="queue_full") == 1


def test_times_of_pictures_are_counted_where_there_are_any() -> None:
    """Also where all of them were known; texts alone leave these series as they are."""
    metrics = used()
    assert value(metrics, "rerankd_read_pictures_seconds_count", model="m") == 0

    for encoding in (500.0, 0.0):
        pictured = Timings(1.0, 1.0, 1.0, 1.0, read_pictures_ms=250.0, encode_pictures_ms=encoding)
        seen = outcome("m", "key-id")
        assert seen.result
        result = msgspec.structs.replace(seen.result, timings=pictured)
        metrics.ranked(msgspec.structs.replace(seen, result=result))

    assert value(metrics, "rerankd_read_pictures_seconds_sum", model="m") == 0.5
    assert value(metrics, "rerankd_encode_pictures_seconds_sum", model="m") == 0.5
    assert value(metrics, "rerankd_encode_pictures_seconds_count", model="m") == 2


def test_a_step_is_counted_with_its_fill() -> None:
    """48 of 64 tokens are three quarters."""
    metrics = used()

    assert value(metrics, "rerankd_step_fill_ratio_sum", model="m") == 0.75
    assert value(metrics, "rerankd_step_tokens_total", model="m") == 48
    assert value(metrics, "rerankd_step_documents_total", model="m") == 3
    assert value(metrics, "rerankd_step_requests_total", model="m") == 2


def test_an_answer_is_counted_by_route() -> None:
    """What nobody serves, and methods that there are not, are `other`."""
    metrics = used()
    metrics.answered(
        Answer(method="BREW", route="", status=405, seconds=0.1, error="method_not_allowed")
    )

    name = "rerankd_http_requests_total"
    assert value(metrics, name, method="POST", route="/v1/rerank", status="200") == 1
    assert value(metrics, name, method=OTHER, route=OTHER, status="405") == 1
    assert value(metrics, "rerankd_errors_total", model="", code="method_not_allowed") == 1


def test_models_are_bounded() -> None:
    """However many names come, there are only so many series."""
    metrics = Metrics()
    for number in range(MOST_MODELS + 50):
        metrics.ranked(outcome(f"m{number}"))

    samples = families(metrics)["rerankd_requests"].samples
    assert len(samples) == MOST_MODELS + 1
    assert value(metrics, "rerankd_requests_total", model=OTHER) == 50


def test_many_threads_lose_nothing() -> None:
    """Engine threads and the event loop count at once."""
    metrics = Metrics()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: metrics.stepped(f"m{number % 3}", STEP), range(3000)))

    samples = families(metrics)["rerankd_step_tokens"].samples
    assert sum(sample.value for sample in samples) == 3000 * 48


def test_no_key_is_a_label() -> None:
    """Keys' ids are not exported."""
    assert "key-id" not in used().render(Snapshot())[0].decode()


def test_counting_looks_no_labels_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's are looked up once, not with every request and step."""
    metrics, told = used(), outcome("m")
    metrics.ranked(told)
    metrics.stepped("m", STEP)
    monkeypatch.setattr(
        MetricWrapperBase, "labels", lambda *_: pytest.fail("labels were looked up")
    )

    metrics.ranked(told)
    metrics.stepped("m", STEP)


def test_a_fault_of_one_observer_harms_nobody() -> None:
    """Traces that fail neither fail the request nor the other counts."""

    class Broken:
        def ranked(self, outcome: Outcome) -> None:
            raise RuntimeError(outcome.model)

        def stepped(self, model: str, step: StepFacts) -> None:
            raise RuntimeError(model, step)

        def around(self, app: Any) -> Any:
            return app

        def close(self) -> None:
            pass

    telemetry = Telemetry(Broken())
    telemetry.ranked(outcome("m"))
    telemetry.stepped("m", STEP)

    assert value(telemetry.metrics, "rerankd_requests_total", model="m") == 1
    assert telemetry.usage.report("hour").totals.requests == 1


# The route


def test_the_route_tells_counters_and_how_things_stand() -> None:
    """After two requests, one of them a fault, their counts and the model's state are there."""
    with client_of(service_of(cache_bytes=1000)) as client:
        rerank(client, query="q", documents=["one", "one two"])
        rerank(client, query="q", documents=["poison"])
        client.get("/nothing")
        answer = client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    model = {"model": "rerank-mini-en"}
    for name, labels, wanted in (
        ("rerankd_requests_total", model, 2),
        ("rerankd_errors_total", {**model, "code": "engine_failure"}, 1),
        ("rerankd_errors_total", {"model": "", "code": "not_found"}, 1),
        ("rerankd_documents_total", model, 2),
        ("rerankd_model_state", {**model, "state": "ready"}, 1),
        ("rerankd_model_state", {**model, "state": "failed"}, 0),
        ("rerankd_queue_tokens", model, 0),
        ("rerankd_cache_entries", {}, 2),
        ("rerankd_cache_limit_bytes", {}, 1000),
    ):
        assert _value(answer.text, name, **labels) == wanted, (name, labels)
    assert (_value(answer.text, "rerankd_step_tokens_total", **model) or 0) > 0
    assert (_value(answer.text, "rerankd_model_memory_bytes", **model) or 0) > 0
    assert (_value(answer.text, "process_resident_memory_bytes") or 0) > 1e6


def test_the_route_tells_the_queue_while_requests_wait() -> None:
    """Tokens and requests in hand are read when asked for."""
    gate = Gate()
    with (
        server_of(service_of(FakeEngine(gate=gate), start=False)) as url,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        waiting = pool.submit(rerank, client, query="q", documents=["one two"])
        gate.await_step()
        text = client.get("/metrics").text
        gate.open()
        waiting.result()

    assert _value(text, "rerankd_queue_requests", model="rerank-mini-en") == 1
    assert (_value(text, "rerankd_queue_tokens", model="rerank-mini-en") or 0) > 0


def test_scrapers_that_prefer_openmetrics_get_it() -> None:
    """Prometheus' own Accept header leads to OpenMetrics that its parser takes."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5"
    with client_of(service_of()) as client:
        answer = client.get("/metrics", headers={"Accept": accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in read_openmetrics(answer.text)} > {"rerankd_requests"}


@pytest.mark.parametrize(("public", "status"), [(False, 401), (True, 200)])
def test_metrics_ask_for_a_key_unless_public(public: bool, status: int) -> None:
    """Where keys are asked for, /metrics asks as well; a setting opens it, and only it."""
    with client_of(service_of(api_keys=("k",), metrics_public=public)) as client:
        assert client.get("/metrics").status_code == status
        assert client.get("/metrics", headers={"Authorization": "Bearer k"}).status_code == 200
        assert client.get("/v1/usage").status_code == 401


# The documents


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the names of docs/observability.md with type and labels."""
    page = (DOCS / "observability.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([\w, ]*)\|", page, re.MULTILINE
    )
    return {
        name: (kind, tuple(sorted(filter(None, re.split(r"[, ]+", labels)))))
        for name, kind, labels in rows
    }


def exported() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what a server that has done all there is exports, in the same form."""
    with client_of(service_of()) as client:
        rerank(client, query="q", documents=["one"])
        rerank(client, query="q", documents=["poison"])
        text = client.get("/metrics").text
        text = client.get("/metrics").text
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = (family.type, tuple(sorted(labels - {"le"})))
    return found


def test_the_page_lists_just_what_is_exported() -> None:
    """Every metric stands in the table with its type and labels, and there are no others."""
    assert documented() == exported()


def test_the_dashboard_uses_metrics_that_there_are() -> None:
    """Each name and label in the dashboard's queries is exported; all but a few are used."""
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text("utf-8"))
    queries = [
        *(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())),
        *(
            variable["definition"]
            for variable in dashboard["templating"]["list"]
            if variable["type"] == "query"
        ),
    ]
    known = exported()
    samples = set(known) | {
        name + ending
        for name, (kind, _) in known.items()
        if kind == "histogram"
        for ending in ("_bucket", "_sum", "_count")
    }

    named = set(re.findall(r"\b(?:rerankd|process)_\w+", " ".join(queries)))

    assert named <= samples
    ours = {name for name in known if name.startswith("rerankd_")}
    assert {name for name in ours if not any(one.startswith(name) for one in named)} == set()
    for query in queries:
        for name, selected in re.findall(r"\b((?:rerankd|process)_\w+)\{([^}]*)\}", query):
            labels = known[re.sub("_(bucket|sum|count)$", "", name)][1]
            assert set(re.findall(r"(\w+)=~", selected)) <= {"job", "instance", *labels}, query


def test_the_dashboard_names_no_server_of_ours() -> None:
    """Data source, job and server are chosen on import; panels have titles and own places."""
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text("utf-8"))

    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(panel["title"] for panel in panels)
    sources = {json.dumps(panel["datasource"]) for panel in panels if panel["type"] != "row"}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
