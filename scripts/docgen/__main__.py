"""`PYTHONPATH=tests python -m handbook` writes the generated parts of docs/ anew."""

from docgen.reference import write

write()
