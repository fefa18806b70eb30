"""What is observed: metrics, usage, traces and the look of log lines."""
