set shell := ["bash", "-euo", "pipefail", "-c"]

export venv := justfile_directory() / ".venv"
python := venv / "bin/python"
# Each worker has its own servers, so more than four gain little; `-n 0` among a recipe's options undoes it.
parallel := "-n auto --maxprocesses 4"
compile := "uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package diskcache --no-annotate --custom-compile-command"

# List the recipes
default:
    @just --list

# Install what running needs and serve on 127.0.0.1:8100
serve *options: (_install "runtime")
    @{{ venv }}/bin/rerankd serve {{ options }}

# Run the rerankd command with any arguments
run *arguments: (_install "runtime")
    @{{ venv }}/bin/rerankd {{ arguments }}

# Measure a running server, or two in turn (docs/performance.md)
bench *options: (_install "runtime")
    @{{ venv }}/bin/rerankd bench {{ options }}

# Compare with llama.cpp's server, node-llama-cpp and ONNX Runtime; needs cmake and npm
bench-peers *options: (_install "dev")
    @scripts/bench-peers.sh {{ options }}

# Soak a server with mixed and hostile traffic for so many minutes (docs/performance.md)
soak minutes="30" *options: (_install "dev")
    PYTHONPATH=tests {{ python }} -m support.soak.run {{ minutes }} {{ options }}

# Install everything, check, and run the whole suite
test *options: check
    @{{ python }} -m pytest {{ parallel }} --dist loadfile {{ options }}

# Run what tells most in a minute: tests of single rooms, but for the slow ones
test-fast *options: (_install "dev")
    @{{ python }} -m pytest {{ parallel }} --dist loadfile -m "not slow" tests/unit {{ options }}

# Lint, check the format and the types
check: (_install "dev")
    @{{ venv }}/bin/ruff check
    @{{ venv }}/bin/ruff format --check
    @{{ venv }}/bin/mypy

# Format the code and fix what can be fixed
format: (_install "dev")
    {{ venv }}/bin/ruff check --fix
    {{ venv }}/bin/ruff format

# Look at every page of the console in Firefox (apt-get install firefox-esr); pictures go to FOLDER
look-firefox folder="build/firefox": (_install "dev")
    PYTHONPATH=app:tests {{ python }} tests/browser/firefox.py {{ folder }}

# Generate the reference pages of docs/ from the program: settings, commands, API, metrics
docs: (_install "dev")
    PYTHONPATH=tests:scripts {{ python }} -m docgen

# Run real client libraries against a server: 1 GB of them, with npm's where Node.js is installed
test-clients *options: (_install "dev")
    @scripts/test-clients.sh {{ parallel }} {{ options }}

# Compare scores with layers on a GPU with the CPU's, on Mesa's software Vulkan driver (docs/gpu.md)
test-offload *options:
    @scripts/test-offload.sh {{ options }}

# Pack what test-gpu needs on a CUDA machine without a network into dist/gpu: at most 64 MiB (docs/gpu.md)
pack-gpu: (_install "dev")
    @scripts/pack-gpu.sh

# Build for this machine's CUDA GPU from dist/gpu and measure it in ten minutes; in small without one (docs/gpu.md)
test-gpu *options:
    @scripts/test-gpu.sh {{ options }}

# Set how long steps on GPUs are from a report of test-gpu
gpu-steps report:
    PYTHONPATH=scripts {{ python }} -m gpu.steps {{ report }}

# Serve and rank in bulk on a Ray cluster of network namespaces: 700 MB, minutes, root (docs/scaling.md)
test-ray *options: (_install "dev")
    @scripts/test-ray.sh {{ options }}

# Build the wheel and the source distribution into dist/
build: (_install "dev")
    {{ python }} -m build --no-isolation

# Build dist/rerankd, one file that needs no Python (docs/install.md); `just binary aarch64` dist/rerankd-aarch64
binary architecture=arch():
    @scripts/binary.sh {{ architecture }}

# Compile llama.cpp for another architecture into build/engine-ARCHITECTURE (docs/builds.md)
engine architecture:
    @scripts/engine.sh {{ architecture }}

# Rank with the aarch64 engine on processors that qemu-user emulates: Debian's cross compiler, minutes (docs/builds.md)
test-arm *options: (_install "dev")
    @scripts/test-arm.sh {{ options }}

# Run dist/rerankd as people will: in an empty root, on older processors, killed, damaged
test-binary *options: (_install "dev") binary
    {{ python }} -m pytest tests/integration/binary {{ parallel }} {{ options }}

# Measure dist/rerankd: size, time to the first answer, idle memory
measure-binary: (_install "dev") binary
    PYTHONPATH=tests {{ python }} tests/integration/binary/measure.py

# Build dist/llama_cpp_python-….whl: llama.cpp for all processors of this architecture (docs/release.md)
wheels *architectures:
    @scripts/wheels.sh {{ architectures }}

# Build all that a release needs into dist/ (docs/release.md); `just release v0.1.0` holds it to a tag
release tag="": (binary "--release") (wheels "--release") build
    @scripts/release.sh {{ tag }}

# Install from dist/ as people will, without an index or a compiler; `just release` comes before
test-release *options: (_install "dev")
    {{ python }} -m pytest tests/integration/release {{ options }}

# Measure an installation from dist/ to the first answer, here or in a root that debootstrap made
measure-release *root: (_install "dev")
    PYTHONPATH=tests {{ python }} tests/integration/release/measure.py {{ root }}

# Build the container image with podman, docker or buildah (docs/container.md)
image target="cpu" *options:
    @scripts/image.sh {{ target }} {{ options }}

# Run the existing image and send it requests; builds nothing
test-image *options: (_install "dev")
    {{ python }} -m pytest tests/integration/image {{ options }}

# Train rerank-mini-en again (models/train/README.md)
train *options: _train
    .venv-train/bin/python -m models.train {{ options }}

# Make rerank-mini-multi again (models/train/README.md)
train-multi *options: _train
    .venv-train/bin/python -m models.train.multi {{ options }}

# Test the training: readers, a run of a minute, resuming
test-train *options: _train
    .venv-train/bin/python -m pytest -c tests/integration/train/pytest.ini tests/integration/train {{ options }}

# Update the locks from pyproject.toml; needs uv, as the next two do
lock:
    {{ compile }} "just lock" pyproject.toml --group package --output-file requirements/runtime.txt
    {{ compile }} "just lock" pyproject.toml --group package --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
    {{ compile }} "just lock" pyproject.toml --group package --group binary --extra eval --extra otel --constraints requirements/runtime.txt --constraints requirements/dev.txt --output-file requirements/binary.txt
    {{ compile }} "just lock" --group release --constraints requirements/dev.txt --output-file requirements/release.txt

# Look the locks up in PyPI's list of known vulnerabilities (docs/security.md); needs uv and the network
audit:
    for lock in requirements/*.txt; do uvx pip-audit --strict --disable-pip --require-hashes --requirement "$lock"; done

# Update the locks of the client libraries
lock-clients:
    for file in tests/integration/clients/requirements/*.in; do {{ compile }} "just lock-clients" "$file" --output-file "${file%.in}.txt"; done

# Update the lock of Ray's tests
lock-ray:
    {{ compile }} "just lock-ray" tests/integration/ray/requirements.in --constraints requirements/dev.txt --output-file tests/integration/ray/requirements.txt

# Compile llama.cpp and install a lock into .venv, unless it is there already
_install lock:
    @scripts/install.sh {{ lock }}

# Install what training needs into .venv-train
_train:
    @scripts/train-environment.sh
