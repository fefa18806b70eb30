"""The OpenAPI document, read from the routes of an application."""
