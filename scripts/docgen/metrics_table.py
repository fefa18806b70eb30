"""The table of metrics in docs/observability.md, from what a server that did everything exports."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from docgen.markdown import sentence_part, table
from support.serving import client_of, rerank, service_of


def metrics() -> str:
    """Return the table: ours first, then the process's, in the order of their export."""
    with client_of(service_of()) as client:
        rerank(client, query="q", documents=["one"])
        rerank(client, query="q", documents=["poison"])
        client.get("/metrics")
        text = client.get("/metrics").text
    families = sorted(
        text_string_to_metric_families(text), key=lambda one: one.name.startswith("process_")
    )
    return table(("metric", "type", "labels", "meaning"), map(_row, families))


def _row(family: Metric) -> tuple[str, str, str, str]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
    shown = ", ".join(label for label in labels if label != "le")
    return f"`{name}`", family.type, shown, sentence_part(family.documentation)
