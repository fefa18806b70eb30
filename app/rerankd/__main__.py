"""`python -m rerankd` is the `rerankd` command."""

from rerankd.cli import run

run()
