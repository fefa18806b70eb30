"""The groups of routes in the OpenAPI document; those that rank are grouped by dialect."""

from __future__ import annotations

from rerankd.http.openapi.operation import Tag

MODELS_TAG = Tag("models", "What can be asked for by name, and what could be")
HEALTH_TAG = Tag("health", "For those who start and watch the server")
DEPLOYMENTS_TAG = Tag("deployments", "Models downloaded, loaded and freed while the server runs")
KEYS_TAG = Tag("keys", "API keys: who may do what, for how long, and how much of it")
USAGE_TAG = Tag("usage", "What was used, by whom, and how the server feels")
