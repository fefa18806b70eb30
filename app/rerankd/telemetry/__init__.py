"""Metrics, usage, traces, and the format of log lines."""
