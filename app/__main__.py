"""`python -m app` is the `rerankd` command."""

from app.cli import main

main()
