#!/usr/bin/env bash
# test-gpu.sh OPTION...: build llama.cpp for this machine's GPU from what pack-gpu.sh packed, and measure it
# (docs/gpu.md). Runs beside gpu.tar.xz, or in a checkout, which has it in dist/gpu. Without a GPU or a pack,
# the stages run in small with the checkout's own environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=3.12 # of the Python that the packages are for; pack-gpu.sh has it too

# find_python: one of that version
find_python() {
    local one
    for one in "${PYTHON:-python3}" python$version; do
        if "$one" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
            echo "$one"
            return
        fi
    done
    echo "the packages are for Python $version, and neither python3 nor python$version is it; name it in PYTHON" >&2
    return 1
}

# unpack ARCHIVE FOLDER: unless it is there
unpack() {
    local wanted
    wanted=$(cksum < "$1")
    if [ "$(cat "$2/unpacked" 2>/dev/null)" = "$wanted" ]; then return; fi
    rm -rf "$2"
    mkdir -p "$2"
    "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' "$1" "$2"
    echo "$wanted" > "$2/unpacked"
}

# Without pip's packages on the machine, and with output as it comes.
export PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1
if [ -f "$here/gpu.tar.xz" ]; then
    archive=$here/gpu.tar.xz root=$here
else
    root=$(cd "$here/.." && pwd)
    archive=$root/dist/gpu/gpu.tar.xz
fi
cd "$root"
if [ -f "$archive" ] && { nvidia-smi >/dev/null 2>&1 || [ -n "${RERANKD_GPU_PACK:-}" ]; }; then
    work=$root/build/gpu/pack
    python=$(find_python)
    unpack "$archive" "$work"
    export PYTHONPATH=$work/site:$work/engine:$work/app:$work/scripts:$work/tests
    exec "$python" -m gpu --sources "$work/engine" "$@"
fi
python=${venv:-$root/.venv}/bin/python
if [ ! -x "$python" ] || [ -f "$here/gpu.tar.xz" ]; then
    echo "there is no GPU that nvidia-smi knows. RERANKD_GPU_PACK=1 builds the pack for the CPU all the same;" \
        "in a checkout with an environment (\`just check\`) the stages run in small." >&2
    exit 1
fi
export PYTHONPATH=$root/app:$root/scripts:$root/tests
exec "$python" -m gpu "$@"
