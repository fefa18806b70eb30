"""`PYTHONPATH=tests python -m handbook` writes the generated parts of docs/ anew."""

from handbook.reference import write

write()
