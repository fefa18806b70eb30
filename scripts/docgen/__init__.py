"""The handbook's own tools: what README.md and docs/ say, read back and held to the program."""
