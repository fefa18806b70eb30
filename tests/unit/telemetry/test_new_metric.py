"""A new metric takes a family, and a line where it is counted: here a toy, beside the real ones."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from rerankd.domain import Outcome
from rerankd.telemetry import metrics
from rerankd.telemetry.observers import Telemetry

from docgen import metrics_table
from support.outcomes import outcome


class ToyFamilies(metrics._Families):
    """The families of the program, and one more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.toys = Counter("rerankd_toys", "Toys counted.", ("model",), registry=registry)


class ToyMetrics(metrics.Metrics):
    """Metrics that count a toy for each document."""

    def ranked(self, outcome: Outcome) -> None:
        """Count as always, and the toys."""
        super().ranked(outcome)
        families: Any = self._families
        families.toys.labels(outcome.model).inc(outcome.documents)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the metric to whatever is observed from now on."""
    monkeypatch.setattr(metrics, "_Families", ToyFamilies)
    monkeypatch.setattr("rerankd.telemetry.observers.Metrics", ToyMetrics)


@pytest.mark.usefixtures("toys")
def test_it_is_exported_with_what_the_service_reports() -> None:
    """The observer hands each outcome on; the exposition is made of whatever is registered."""
    telemetry = Telemetry()
    telemetry.ranked(outcome("mine", documents=3))

    text = telemetry.metrics.render(metrics.Snapshot())[0].decode()

    assert "# HELP rerankd_toys_total Toys counted." in text
    assert 'rerankd_toys_total{model="mine"} 3.0' in text


@pytest.mark.usefixtures("toys")
def test_its_row_in_the_docs_is_made_from_what_is_exported() -> None:
    """`just docs` reads /metrics."""
    assert "| `rerankd_toys_total` | counter | model | toys counted |" in metrics_table.metrics()
