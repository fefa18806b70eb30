"""`python -m rerankd` is the `rerankd` command."""

from rerankd.cli import main

main()
