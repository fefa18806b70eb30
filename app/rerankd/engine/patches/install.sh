#!/usr/bin/env bash
# Install the llama-cpp-python of a lock, its llama.cpp patched by the *.patch files beside this.
#   install.sh PYTHON LOCK
# With RERANKD_PLAIN_ENGINE=1 it is not patched, and with RERANKD_PICTURES=0 it has no library for pictures.
# CMAKE_ARGS reach CMake either way, after our own flags.
# RERANKD_CPU_VARIANTS="haswell zen4" compiles the CPU's kernels for these generations of processors, as
# plugins, instead of for this machine; RERANKD_CPU_VARIANTS=all for those that portable.env lists.
# RERANKD_ENGINE_ARCHITECTURE=aarch64 cross-compiles with Debian's compiler for it, and
# RERANKD_ENGINE_TARGET=FOLDER installs into a folder instead of PYTHON's environment.
set -euo pipefail
python=$1 lock=$2
here=$(cd "$(dirname "$0")" && pwd)
architecture=${RERANKD_ENGINE_ARCHITECTURE:-$(uname -m)}
. "$here/portable.env"
variants=${RERANKD_CPU_VARIANTS:-}
[ "$variants" != all ] || variants=$CPU_VARIANTS
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# show_progress LOG: keep the build's output in LOG, and show how far it is: on one line of a terminal, or
# on a line of its own every ten seconds. Ninja counts [12/83], make [ 14%].
show_progress() {
    local line done=0 next=10 started=$SECONDS
    while IFS= read -r line; do
        printf '%s\n' "$line" >> "$1"
        if [[ $line =~ ^\ *\[([0-9]+)/([0-9]+)\] ]]; then
            done=$((100 * BASH_REMATCH[1] / BASH_REMATCH[2]))
        elif [[ $line =~ ^\ *\[\ *([0-9]+)%\] ]]; then
            done=${BASH_REMATCH[1]}
        else
            continue
        fi
        if [ -t 2 ]; then
            printf '\rcompiling llama.cpp: %3d %%' "$done" >&2
        elif [ $((SECONDS - started)) -ge $next ]; then
            echo "compiling llama.cpp: $done % after $((SECONDS - started)) s" >&2
            next=$((SECONDS - started + 10))
        fi
    done
    if [ -t 2 ] && [ "$done" -gt 0 ]; then echo >&2; fi
}

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
pictures=ON
[ "${RERANKD_PICTURES:-1}" != 0 ] || pictures=OFF
flags="-DLLAVA_BUILD=$pictures -DCMAKE_PROJECT_llama.cpp_INCLUDE=$folder/lean.cmake"
if [ -n "$variants" ]; then
    list=$folder/vendor/llama.cpp/ggml/src/CMakeLists.txt
    for variant in $variants; do
        grep --quiet -E "ggml_add_cpu_backend_variant\(${variant//./\\.}[ )]" "$list" || {
            echo "llama.cpp has no CPU variant $variant" >&2
            exit 1
        }
    done
    named=${variants//./\\.}
    sed --in-place -E "/ggml_add_cpu_backend_variant\([a-z]/{/\((${named// /|})[ )]/!d}" "$list"
    flags+=" $CPU_FLAGS"
fi
if [ "$architecture" != "$(uname -m)" ]; then
    compiler=$architecture-linux-gnu
    command -v "$compiler-g++" >/dev/null || {
        echo "there is no $compiler-g++ (Debian and Ubuntu: apt install g++-${compiler/_/-})" >&2
        exit 1
    }
    flags+=" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$architecture"
    flags+=" -DCMAKE_C_COMPILER=$compiler-gcc -DCMAKE_CXX_COMPILER=$compiler-g++"
fi
# A copy, as its own path may contain spaces, at which CMAKE_ARGS are split.
cp "$here/lean.cmake" "$folder"
export CMAKE_ARGS="$flags ${CMAKE_ARGS:-}"
"$python" -m pip install --verbose --disable-pip-version-check --no-deps --force-reinstall \
    ${RERANKD_ENGINE_TARGET:+--upgrade --target "$RERANKD_ENGINE_TARGET"} "$folder" 2>&1 |
    show_progress "$folder/log" || {
    tail -n 60 "$folder/log" >&2
    echo "llama.cpp was not compiled: see above" >&2
    exit 1
}
