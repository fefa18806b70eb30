"""Workers, limits and GPU layers, planned from a file's header."""
