"""What house.py counts and can't read from the sources: a request's path, and places to touch.

Each table has two columns: for a checkout whose package is `app/`, as up to 71f71be, and for one
whose package is `app/rerankd/`. house.py refuses a place that its checkout doesn't have.
"""

from __future__ import annotations

Columns = tuple[tuple[str, ...], tuple[str, ...]]

HOPS: Columns = (
    (
        *("http/routes.py:rerank", "http/routes.py:_answer", "http/wire.py:unless_gone"),
        *("http/routes.py:_rank_all", "http/limits.py:rank", "service.py:rank", "service.py:_rank"),
        *("ranking.py:rank", "ranking.py:_score", "runtime.py:score", "scheduler.py:score"),
        *("scheduler.py:_work", "scheduler.py:_run", "scheduler.py:_counted"),
        "engine/encoder.py:run",
    ),
    (
        *("http/routes.py:rerank", "http/routes.py:_answer", "http/disconnects.py:unless_gone"),
        *("service/service.py:rank_many", "service/service.py:_rank", "ranking/ranker.py:rank"),
        *("ranking/ranker.py:_scored", "scheduling/scheduler.py:score"),
        "scheduling/scheduler.py:_work",
        *("scheduling/steps.py:run_step", "scheduling/steps.py:_counted"),
        "engine/backends/encoder.py:run",
    ),
)
"""Functions that a rerank request is in while the engine runs its step, the outermost first.

tests/unit/http/test_request_path.py compares the second column with a request that it sends."""

REQUEST: Columns = (
    (
        *("http/routes.py:rerank", "http/wire.py:body_of", "dialects/table.py:recognise"),
        *("dialects/native.py:read", "http/routes.py:_answer", "http/wire.py:unless_gone"),
        *("http/routes.py:_rank_all", "http/limits.py:rank", "service.py:rank"),
        *("deployments/registry.py:use", "ranking.py:rank", "runtime.py:tokenizing"),
        *("ranking.py:_prepare", "runtime.py:build", "prompts/prompter.py:build"),
        *("ranking.py:_score", "runtime.py:score", "scheduler.py:score"),
        *("fair_queue.py:take", "scheduler.py:_run", "engine/encoder.py:run"),
        *("ranking.py:take", "ranking.py:_result", "http/wire.py:render"),
    ),
    (
        *("http/routes.py:rerank", "http/wire.py:body_of", "dialects/table.py:detect"),
        *("dialects/native.py:parse_native", "http/routes.py:_answer"),
        *(
            "http/disconnects.py:unless_gone",
            "service/service.py:rank_many",
            "service/service.py:_rank",
        ),
        *("deployments/registry.py:use", "ranking/ranker.py:rank"),
        *("ranking/preparation.py:prepare", "prompts/prompt_builder.py:build"),
        *("scheduling/scheduler.py:score", "scheduling/fair_queue.py:take"),
        *("scheduling/steps.py:run_step", "engine/backends/encoder.py:run"),
        *("ranking/collector.py:take", "ranking/ranker.py:_result", "http/wire.py:render"),
    ),
)
"""Functions that the request passes, in order: from the route to the engine and back to the answer.
A file comes again where the request comes back to it."""

WALKS: dict[str, Columns] = {
    "encoder family": (
        (
            "app/gguf_file/verdict.py",
            "app/catalog/manifest.py",
            "app/catalog/memory.py",
            "app/engine/offload.py",
            "app/prompts/layouts.py",
        ),
        ("app/rerankd/families/neo_bert.py", "app/rerankd/families/registry.py"),
    ),
    "causal family": (
        (
            "app/gguf_file/verdict.py",
            "app/catalog/manifest.py",
            "app/catalog/memory.py",
            "app/engine/__init__.py",
            "app/engine/causal.py",
            "app/engine/offload.py",
            "app/engine/sizing.py",
            "app/prompts/layouts.py",
        ),
        ("app/rerankd/families/qwen3.py", "app/rerankd/families/registry.py"),
    ),
    "dialect": (
        ("app/dialects/zeroentropy.py", "app/dialects/table.py", "app/http/openapi/examples.py"),
        ("app/rerankd/dialects/zeroentropy.py", "app/rerankd/dialects/table.py"),
    ),
    "route": (
        ("app/http/usage.py", "app/http/application.py", "app/http/openapi/management.py"),
        ("app/rerankd/http/usage.py", "app/rerankd/http/application.py"),
    ),
    "command": (
        ("app/cli/devices.py", "app/cli/__init__.py"),
        ("app/rerankd/cli/devices.py", "app/rerankd/cli/__init__.py"),
    ),
    "setting": (
        ("app/settings.py:Settings", "app/settings.py:HELP"),
        ("app/rerankd/settings/schema.py:Settings",),
    ),
    "metric": (
        ("app/metrics.py:_Families", "app/metrics.py:_Model", "app/metrics.py:Metrics"),
        (
            "app/rerankd/telemetry/metrics.py:_Families",
            "app/rerankd/telemetry/metrics.py:_Model",
            "app/rerankd/telemetry/metrics.py:Metrics",
        ),
    ),
    "error": (
        ("app/errors.py", "app/http/statuses.py"),
        (
            "app/rerankd/errors/of_requests.py",
            "app/rerankd/errors/__init__.py",
            "app/rerankd/http/statuses.py",
        ),
    ),
    "catalog entry": (
        ("models/bge-reranker-base.toml",),
        ("models/bge-reranker-base.toml",),
    ),
}
"""Places in the sources that somebody changes to add one, as `file` or `file:name`. A file that is
new each time is named by one that is there. Tests and pages come on top: docs/contributing.md."""
