#!/usr/bin/env bash
# Install the llama-cpp-python of a lock, its llama.cpp patched by the *.patch files beside this.
#   install.sh PYTHON LOCK
# With RERANKD_PLAIN_ENGINE=1 it is installed as it was published. CMAKE_ARGS reach CMake either way.
# RERANKD_CPU_VARIANTS="haswell zen4" compiles the CPU's kernels for these generations of processors, as
# plugins, instead of for this machine; RERANKD_CPU_VARIANTS=all for those that portable.env lists.
set -euo pipefail
python=$1 lock=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/portable.env"
variants=${RERANKD_CPU_VARIANTS:-}
[ "$variants" != all ] || variants=$CPU_VARIANTS
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$here/unpack.sh" "$python" "$lock" "$folder"
if [ -z "${RERANKD_PLAIN_ENGINE:-}" ]; then
    command -v git >/dev/null || { echo "git, which applies the patch, is missing" >&2; exit 1; }
    for patch in "$here"/*.patch; do
        # Inside a repository git apply would pass over files that aren't the repository's.
        GIT_DIR="$folder/none" git -C "$folder/vendor/llama.cpp" apply "$patch" || {
            echo "${patch##*/} does not apply to $(head -n 1 "$folder/locked.txt" | cut -d' ' -f1)." \
                "Mend it, or set RERANKD_PLAIN_ENGINE=1 to do without." >&2
            exit 1
        }
    done
fi
if [ -n "$variants" ]; then
    list=$folder/vendor/llama.cpp/ggml/src/CMakeLists.txt
    for variant in $variants; do
        grep --quiet -E "ggml_add_cpu_backend_variant\($variant[ )]" "$list" || {
            echo "llama.cpp has no CPU variant $variant" >&2
            exit 1
        }
    done
    sed --in-place -E "/ggml_add_cpu_backend_variant\([a-z]/{/\((${variants// /|})[ )]/!d}" "$list"
    export CMAKE_ARGS="$CPU_FLAGS ${CMAKE_ARGS:-}"
fi
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$folder"
