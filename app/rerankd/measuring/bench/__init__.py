"""Load on running servers, and their figures."""
