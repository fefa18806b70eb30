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

# Compare scores with layers on a GPU with the CPU's, on Mesa's software Vulkan driver (docs/gpu.md)
test-offload *options:
    #!/usr/bin/env bash
    set -euo pipefail
    there={{ justfile_directory() }}/.venv-vulkan
    if [ ! -f "$there/dev.installed" ]; then
        {{ python }} -m venv "$there"
        CMAKE_ARGS="-DGGML_VULKAN=on ${CMAKE_ARGS:-}" app/engine/patches/install.sh "$there/bin/python" requirements/dev.txt
        "$there/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
        "$there/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
        touch "$there/dev.installed"
    fi
    # llama.cpp passes over a driver without a GPU unless it is named; twice makes two devices.
    GGML_VK_VISIBLE_DEVICES="${GGML_VK_VISIBLE_DEVICES:-0,0}" "$there/bin/python" -m pytest tests/offload/against_cpu.py {{ options }}

# Write the locks anew from pyproject.toml
lock:
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --output-file requirements/runtime.txt
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt

# Install a lock into .venv, unless it is there already
_install lock: _engine
    #!/usr/bin/env bash
    set -euo pipefail
    wanted=$(cat requirements/{{ lock }}.txt pyproject.toml | cksum)
    stamp={{ venv }}/{{ lock }}.installed
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
    {{ bin }}/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/{{ lock }}.txt
    {{ bin }}/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    echo "$wanted" > "$stamp"

# Compile the locked llama.cpp with our patch into .venv, unless it is there already
_engine:
    #!/usr/bin/env bash
    set -euo pipefail
    wanted=$( (grep '^llama-cpp-python==' requirements/runtime.txt; cat app/engine/patches/*.patch; echo "plain: ${RERANKD_PLAIN_ENGINE:-}") | cksum)
    stamp={{ venv }}/engine.installed
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
    [ -x {{ bin }}/python ] || {{ python }} -m venv {{ venv }}
    echo "compiling llama.cpp (once: some 5 minutes)" >&2
    app/engine/patches/install.sh {{ bin }}/python requirements/runtime.txt
    echo "$wanted" > "$stamp"
