set shell := ["bash", "-euo", "pipefail", "-c"]

python := env("PYTHON", "python3")
venv := justfile_directory() / ".venv"
bin := venv / "bin"

# List the recipes
default:
    @just --list

# Install what running needs and serve on 127.0.0.1:8100
serve *options: (_install "runtime")
    @{{ bin }}/rerankd serve {{ options }}

# Install everything and run the whole suite
test *options: (_install "dev") check
    @{{ bin }}/python -m pytest {{ options }}

# Lint, check the format and the types
check: (_install "dev")
    @{{ bin }}/ruff check
    @{{ bin }}/ruff format --check
    @{{ bin }}/mypy

# Format the code and mend what can be mended
format: (_install "dev")
    {{ bin }}/ruff check --fix
    {{ bin }}/ruff format

# Run the rerankd command with any arguments
run *arguments: (_install "runtime")
    @{{ bin }}/rerankd {{ arguments }}

# Measure a running server, or two in turn (see docs/performance.md)
bench *options: (_install "runtime")
    @{{ bin }}/rerankd bench {{ options }}

# Build the wheel and the source distribution into dist/
build: (_install "dev")
    {{ bin }}/python -m build --no-isolation

# Write the locks anew from pyproject.toml
lock:
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --output-file requirements/runtime.txt
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt

# Install a lock into .venv, unless it is there already
_install lock:
    #!/usr/bin/env bash
    set -euo pipefail
    wanted=$(cat requirements/{{ lock }}.txt pyproject.toml | cksum)
    stamp={{ venv }}/{{ lock }}.installed
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
    [ -x {{ bin }}/python ] || {{ python }} -m venv {{ venv }}
    echo "installing requirements/{{ lock }}.txt (llama.cpp is compiled the first time: some 5 minutes)" >&2
    {{ bin }}/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/{{ lock }}.txt
    {{ bin }}/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    echo "$wanted" > "$stamp"
