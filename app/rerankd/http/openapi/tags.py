"""The groups of routes in the OpenAPI document; those that rank are grouped by dialect."""

from __future__ import annotations

from rerankd.http.openapi.operation import Tag

MODELS_TAG = Tag("models", "The models that are served, and those that could be")
HEALTH_TAG = Tag("health", "Health checks for process managers and load balancers")
DEPLOYMENTS_TAG = Tag("deployments", "Load, watch and unload models while the server runs")
KEYS_TAG = Tag("keys", "API keys: what each one allows, how much and until when")
USAGE_TAG = Tag("usage", "Usage by model and API key, and the server's metrics")
EMBEDDINGS_TAG = Tag("embeddings", "Vectors of texts, from models that are served anyway")
