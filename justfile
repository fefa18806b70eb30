set shell := ["bash", "-euo", "pipefail", "-c"]

python := env("PYTHON", "python3")
venv := justfile_directory() / ".venv"
bin := venv / "bin"
portable := justfile_directory() / ".venv-portable"

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

# Compare with llama.cpp's server, node-llama-cpp and ONNX Runtime; needs cmake and npm
bench-peers *options: (_install "dev")
    #!/usr/bin/env bash
    set -euo pipefail
    there={{ justfile_directory() }}/.peers
    mkdir -p "$there/sources" "$there/node"
    if [ ! -x "$there/llama.cpp/bin/llama-server" ]; then
        # The same sources as the engine's, as they were published.
        app/rerankd/engine/patches/unpack.sh {{ bin }}/python requirements/runtime.txt "$there/sources"
        cmake -S "$there/sources/vendor/llama.cpp" -B "$there/llama.cpp" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF
        cmake --build "$there/llama.cpp" --target llama-server --parallel
    fi
    cp tests/integration/peers/package.json tests/integration/peers/node_llama_cpp.mjs "$there/node"
    (cd "$there/node" && npm install --silent)
    if [ ! -f "$there/onnx/installed" ]; then
        {{ bin }}/python -m venv "$there/onnx"
        {{ bin }}/python -c 'import sysconfig; path = sysconfig.get_path("purelib"); print(f"import site; site.addsitedir({path!r})")' > "$(echo "$there"/onnx/lib/python3*/site-packages)/rerankd.pth"
        "$there/onnx/bin/python" -m pip install --quiet --disable-pip-version-check onnx onnxruntime
        touch "$there/onnx/installed"
    fi
    [ -f "$there/qwen3-0.6b-shape.gguf" ] || PYTHONPATH=tests {{ bin }}/python tests/integration/peers/synthetic.py "$there/qwen3-0.6b-shape.gguf"
    PYTHONPATH=tests {{ bin }}/python tests/integration/peers/compare.py --llama-server "$there/llama.cpp/bin/llama-server" --node "$there/node" --onnx "$there/onnx/bin/python" --causal "$there/qwen3-0.6b-shape.gguf" {{ options }}

# Train the embedded model anew (models/train/README.md)
train *options: _train
    {{ justfile_directory() }}/.venv-train/bin/python -m models.train {{ options }}

# Test the training: readers, a minute's run, resuming
test-train *options: _train
    {{ justfile_directory() }}/.venv-train/bin/python -m pytest -c tests/integration/train/pytest.ini tests/integration/train {{ options }}

# Run real client libraries against a server: a gigabyte of them, and npm's where Node.js is there
test-clients *options: (_install "dev")
    #!/usr/bin/env bash
    set -euo pipefail
    there={{ justfile_directory() }}/.venv-clients
    uv=$there/uv/bin/uv # several times as fast as pip for nine environments
    [ -x "$uv" ] || { {{ python }} -m venv "$there/uv"; "$there/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9; }
    for lock in tests/integration/clients/requirements/*.txt; do
        own=$there/$(basename "$lock" .txt)
        cmp --silent "$lock" "$own/installed.txt" && continue
        "$uv" venv --quiet --clear --python {{ python }} "$own"
        "$uv" pip install --quiet --python "$own/bin/python" --require-hashes -r "$lock"
        cp "$lock" "$own/installed.txt"
    done
    if command -v npm >/dev/null; then
        mkdir -p "$there/javascript"
        cp tests/integration/clients/javascript/* "$there/javascript"
        (cd "$there/javascript" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    fi
    {{ bin }}/python -m pytest tests/integration/clients {{ options }}

# Write the pages of docs/ that are made from the program: settings, commands, API, metrics
docs: (_install "dev")
    PYTHONPATH=tests:scripts {{ bin }}/python -m docgen

# Build the wheel and the source distribution into dist/
build: (_install "dev")
    {{ bin }}/python -m build --no-isolation

# Make dist/rerankd: one file that needs no Python; for x86-64 Linux (see docs/install.md)
binary: _portable
    #!/usr/bin/env bash
    set -euo pipefail
    work={{ justfile_directory() }}/build/binary
    mkdir -p "$work"
    wanted=$(find app models binary LICENSE {{ portable }}/*.installed -type f -not -name '*.pyc' -not -path 'models/train/*' -print0 | sort -z | xargs -0 cksum)
    if [ -x dist/rerankd ] && [ -f "$work/made" ] && [ "$(cat "$work/made")" = "$wanted" ]; then exit 0; fi
    rm -f "$work/made"
    cc -std=gnu11 -O2 -Wall -Wextra -static -s -o "$work/launcher" binary/launcher.c -lzstd || {
        echo "the launcher needs a C compiler and zstd's static library (Debian: build-essential libzstd-dev)" >&2
        exit 1
    }
    PYTHONHASHSEED=0 {{ portable }}/bin/python -m PyInstaller --noconfirm --clean --log-level ERROR --workpath "$work/work" --distpath "$work" binary/rerankd.spec
    # Times inside are the commit's, not this moment's.
    SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" \
        {{ portable }}/bin/python binary/pack.py "$work/launcher" "$work/rerankd" dist/rerankd
    echo "$wanted" > "$work/made"

# Run dist/rerankd as people will: in an empty root, on lesser processors, killed, damaged
test-binary *options: (_install "dev") binary
    {{ bin }}/python -m pytest tests/integration/binary {{ options }}

# Measure dist/rerankd: size, start to first answer, idle memory
measure-binary: (_install "dev") binary
    PYTHONPATH=tests {{ bin }}/python tests/integration/binary/measure.py

# Build the container image with what is there: podman, docker or buildah (see docs/container.md)
image target="cpu" *options:
    #!/usr/bin/env bash
    set -euo pipefail
    for tool in podman docker buildah; do command -v "$tool" >/dev/null && break; done
    name=rerankd; [ "{{ target }}" = cpu ] || name=rerankd-{{ target }}
    format=(--format docker --ignorefile .containerignore) # OCI's own format has no health check
    [ "$tool" != docker ] || format=()
    "$tool" build "${format[@]}" -f Containerfile --target "{{ target }}" -t "$name" {{ options }} .

# Check the image that is there: run it, ask it, stop it; builds nothing
test-image *options: (_install "dev")
    {{ bin }}/python -m pytest tests/integration/image {{ options }}

# Compare scores with layers on a GPU with the CPU's, on Mesa's software Vulkan driver (docs/gpu.md)
test-offload *options:
    #!/usr/bin/env bash
    set -euo pipefail
    there={{ justfile_directory() }}/.venv-vulkan
    if [ ! -f "$there/dev.installed" ]; then
        {{ python }} -m venv "$there"
        CMAKE_ARGS="-DGGML_VULKAN=on ${CMAKE_ARGS:-}" app/rerankd/engine/patches/install.sh "$there/bin/python" requirements/dev.txt
        "$there/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
        "$there/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
        touch "$there/dev.installed"
    fi
    # llama.cpp passes over a driver without a GPU unless it is named; twice makes two devices.
    GGML_VK_VISIBLE_DEVICES="${GGML_VK_VISIBLE_DEVICES:-0,0}" "$there/bin/python" -m pytest tests/integration/offload {{ options }}

# Serve and rank in bulk on a Ray cluster of network namespaces: 700 MB, minutes, and root (docs/scaling.md)
test-ray *options: (_install "dev")
    #!/usr/bin/env bash
    set -euo pipefail
    there={{ justfile_directory() }}/.venv-ray
    if ! cmp --silent tests/integration/ray/requirements.txt "$there/installed.txt"; then
        {{ python }} -m venv --clear "$there"
        "$there/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/integration/ray/requirements.txt
        # The rest, the compiled engine above all, is the development environment's.
        {{ bin }}/python -c 'import sysconfig; path = sysconfig.get_path("purelib"); print(f"import site; site.addsitedir({path!r})")' > "$(echo "$there"/lib/python3*/site-packages)/rerankd.pth"
        cp tests/integration/ray/requirements.txt "$there/installed.txt"
    fi
    "$there/bin/python" -m pytest -W ignore tests/integration/ray {{ options }}

# Write the locks anew from pyproject.toml
lock:
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --output-file requirements/runtime.txt
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock" pyproject.toml --group package --group binary --extra eval --extra otel --constraints requirements/runtime.txt --constraints requirements/dev.txt --output-file requirements/binary.txt

# Write the clients' locks anew
lock-clients:
    for file in tests/integration/clients/requirements/*.in; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "just lock-clients" "$file" --output-file "${file%.in}.txt"; done

# Install what training needs into an environment of its own; PyTorch's builds differ, so without a lock
_train:
    #!/usr/bin/env bash
    set -euo pipefail
    there={{ justfile_directory() }}/.venv-train
    wanted=$(cksum < pyproject.toml)
    if [ -f "$there/installed" ] && [ "$(cat "$there/installed")" = "$wanted" ]; then exit 0; fi
    [ -x "$there/bin/python" ] || {{ python }} -m venv "$there"
    "$there/bin/python" -m pip install --quiet --disable-pip-version-check "pip>=25.1"
    "$there/bin/python" -m pip install --quiet --disable-pip-version-check --group train
    echo "$wanted" > "$there/installed"

# Write Ray's lock anew
lock-ray:
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --constraints requirements/dev.txt --custom-compile-command "just lock-ray" tests/integration/ray/requirements.in --output-file tests/integration/ray/requirements.txt

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
    wanted=$( (grep '^llama-cpp-python==' requirements/runtime.txt; cat app/rerankd/engine/patches/*.patch; echo "plain: ${RERANKD_PLAIN_ENGINE:-}") | cksum)
    stamp={{ venv }}/engine.installed
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
    [ -x {{ bin }}/python ] || {{ python }} -m venv {{ venv }}
    echo "compiling llama.cpp (once: some 5 minutes)" >&2
    app/rerankd/engine/patches/install.sh {{ bin }}/python requirements/runtime.txt
    echo "$wanted" > "$stamp"

# Compile llama.cpp for many processors into an environment of its own, and install what the binary holds
_portable:
    #!/usr/bin/env bash
    set -euo pipefail
    # The rest falls back to one of these: the generations whose kernels differ.
    variants="sse42 haswell alderlake skylakex cascadelake icelake zen4 sapphirerapids"
    flags="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DLLAVA_BUILD=OFF -DCMAKE_INSTALL_BINDIR=llama_cpp/lib"
    wanted=$( (grep '^llama-cpp-python==' requirements/binary.txt; cat app/rerankd/engine/patches/*.patch; echo "$variants $flags") | cksum)
    stamp={{ portable }}/engine.installed
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        [ -x {{ portable }}/bin/python ] || {{ python }} -m venv {{ portable }}
        echo "compiling llama.cpp for many processors (once: some 10 minutes)" >&2
        RERANKD_CPU_VARIANTS=$variants CMAKE_ARGS=$flags app/rerankd/engine/patches/install.sh {{ portable }}/bin/python requirements/binary.txt
        echo "$wanted" > "$stamp"
    fi
    wanted=$(cat requirements/binary.txt pyproject.toml | cksum)
    stamp={{ portable }}/binary.installed
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
    {{ portable }}/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/binary.txt
    {{ portable }}/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    echo "$wanted" > "$stamp"
