"""Makes tests/data/references: what the reference implementations score. See README.md."""
