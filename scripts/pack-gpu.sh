#!/usr/bin/env bash
# pack-gpu.sh: put all that test-gpu.sh needs on a CUDA machine without a network into dist/gpu (docs/gpu.md).
. "$(dirname "$0")/environment.sh"
version=3.12 # of that machine's Python; test-gpu.sh has it too
work=$PWD/build/pack-gpu
rm -rf "$work"
mkdir -p "$work/sources" "$work/site"

$patches/unpack.sh "$venv/bin/python" requirements/runtime.txt "$work/sources"
for patch in "$patches"/*.patch; do
    # Inside a repository git apply would pass over files that aren't the repository's.
    GIT_DIR=$work/none git -C "$work/sources/vendor/llama.cpp" apply "$PWD/$patch"
done

# llama.cpp is built there; what downloads models or builds packages stays here.
export PYTHONPATH=$PWD/scripts
"$venv/bin/python" -m gpu.lock requirements/runtime.txt $version > "$work/packages.txt"
# pip compares what a package requires with the Python that it runs in.
for tag in 2014 _2_17 _2_27 _2_28; do platforms+=(--platform "manylinux${tag}_x86_64"); done
pip_install "$venv" --no-deps --no-compile --ignore-requires-python --require-hashes --only-binary :all: "${platforms[@]}" \
    --implementation cp --python-version $version --target "$work/site" -r "$work/packages.txt"

rm -rf dist/gpu
"$venv/bin/python" -m gpu.packing "$work/sources" "$patches/lean.cmake" "$work/site" dist/gpu
rm -rf "$work"
