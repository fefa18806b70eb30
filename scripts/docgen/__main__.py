"""`PYTHONPATH=tests:scripts python -m docgen` writes the generated parts of docs/."""

from docgen.reference import write

write()
