# Source this: virtual environments for the scripts beside it. Each is installed once, and again when
# what it is made from changes: a stamp in it holds a checksum of that. Runs from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
venv=${venv:-$PWD/.venv}
portable=$PWD/.venv-portable
patches=app/rerankd/engine/patches

# is_current STAMP TEXT: whether the stamp holds the text
is_current() {
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

# create_venv FOLDER: an environment with pip, from Python's own venv or, where that is missing, from uv
create_venv() {
    if [ -x "$1/bin/python" ]; then return; fi
    local suitable=">=3.11,<3.14" has_venv=
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        suitable=$python
        if "$python" -c 'import ensurepip' 2>/dev/null; then has_venv=yes; fi
    fi
    if [ -n "$has_venv" ]; then
        "$python" -m venv "$1"
    elif command -v uv >/dev/null; then
        uv venv --quiet --seed --python "$suitable" "$1"
    else
        echo "$python is not Python 3.11 to 3.13 with venv (Debian and Ubuntu: apt install python3-venv)." \
            "Name another in PYTHON, or install uv." >&2
        exit 1
    fi
}

# pip_install FOLDER ARGUMENT...
pip_install() {
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"
}

# build_time: seconds since 1970 for files' times in what is built: the commit's, not this moment's
build_time() {
    echo "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
}

# install_tools FOLDER NAME: an environment that has requirements/NAME.txt and nothing else
install_tools() {
    local wanted
    wanted=$(cksum < "requirements/$2.txt")
    if is_current "$1/installed" "$wanted"; then return; fi
    create_venv "$1"
    pip_install "$1" --no-deps --require-hashes -r "requirements/$2.txt"
    echo "$wanted" > "$1/installed"
}

# install_environment FOLDER NAME ENGINE BUILD: requirements/NAME.txt with rerankd itself, editable, and
# the llama.cpp of requirements/ENGINE.txt, compiled; BUILD tells builds apart. The packages are
# downloaded and unpacked while the compiler runs.
install_environment() {
    create_venv "$1"
    install_packages "$1" "$2" &
    local packages=$!
    trap 'wait' EXIT # no pip is left behind where the compiler fails
    install_engine "$1" "requirements/$3.txt" "$4"
    wait "$packages"
    trap - EXIT
}

# install_portable: .venv-portable, whose llama.cpp is compiled for many processors; the binary and the
# engine wheel are made from it
install_portable() {
    local flags=-DCMAKE_INSTALL_BINDIR=llama_cpp/lib
    . $patches/portable.env
    unset RERANKD_ENGINE_WHEEL
    export RERANKD_CPU_VARIANTS=all CMAKE_ARGS=$flags
    install_environment "$portable" binary binary "$CPU_VARIANTS $CPU_FLAGS $flags"
}

# engine_version LOCK: the version of an engine wheel: the lock's, then a checksum of our patches and of
# the processors, so that a wheel is known by its name to be what would be compiled
engine_version() {
    local locked
    locked=$(sed -n 's/^llama-cpp-python==\([^ ]*\).*/\1/p' "$1")
    echo "$locked+rerankd.$(cat $patches/*.{patch,cmake} $patches/portable.env | cksum | cut -d' ' -f1)"
}

# delete_engines VERSION ARCHITECTURE: the engine wheels in dist/ that a new one takes the place of: its
# architecture's, and those of other sources, among which pip would take the highest version
delete_engines() {
    local file
    for file in dist/llama_cpp_python-*.whl; do
        if [[ $file != *-"$1"-* || $file == *_"$2".whl ]]; then rm -f "$file"; fi
    done
}

# install_engine FOLDER LOCK BUILD: the lock's llama.cpp with our patches: RERANKD_ENGINE_WHEEL, or a wheel
# of the same sources in dist/ unless variables ask for a build of one's own, or compiled
install_engine() {
    local stamp=$1/engine.installed wanted version wheel=${RERANKD_ENGINE_WHEEL:-}
    if [ -n "$wheel" ]; then
        [ -f "$wheel" ] || { echo "RERANKD_ENGINE_WHEEL: there is no file $wheel" >&2; exit 1; }
        wanted="${wheel##*/} $(cksum < "$wheel")"
        is_current "$stamp" "$wanted" || install_wheel "$1" "$wheel" "$wanted"
        return
    fi
    wanted=$( (grep '^llama-cpp-python==' "$2"; cat $patches/*.{patch,cmake}; echo "$3") | cksum)
    if is_current "$stamp" "$wanted"; then return; fi
    if [ -z "${CMAKE_ARGS:-}${RERANKD_PLAIN_ENGINE:-}${RERANKD_PICTURES:-}${RERANKD_CPU_VARIANTS:-}" ]; then
        version=$(engine_version "$2")
        if is_current "$stamp" "$version"; then return; fi
        wheel=$(echo dist/llama_cpp_python-"$version"-*_"$(uname -m)".whl)
        if [ -f "$wheel" ] && install_wheel "$1" "$wheel" "$version"; then return; fi
    fi
    echo "compiling llama.cpp into ${1##*/} (once; some two minutes on two cores)" >&2
    $patches/install.sh "$1/bin/python" "$2"
    echo "$wanted" > "$stamp"
}

# install_wheel FOLDER WHEEL STAMP: an engine wheel; not every system runs it (docs/install.md)
install_wheel() {
    pip_install "$1" --no-deps --force-reinstall "$2" || return
    echo "installed ${2##*/} in place of compiling llama.cpp" >&2
    echo "$3" > "$1/engine.installed"
}

# install_packages FOLDER NAME: what requirements/NAME.txt lists but the engine, and rerankd itself
install_packages() {
    local stamp=$1/$2.installed wanted
    wanted=$(cat "requirements/$2.txt" pyproject.toml | cksum)
    if is_current "$stamp" "$wanted"; then return; fi
    # Without dependencies: a lock has all that is needed, and leaves out what must not be installed. Python
    # compiles modules when they are first imported.
    awk '/^[^ #]/ { skip = /^llama-cpp-python==/ } !skip' "requirements/$2.txt" > "$1/packages.txt"
    pip_install "$1" --no-deps --no-compile --require-hashes -r "$1/packages.txt"
    pip_install "$1" --no-deps --no-build-isolation --editable .
    echo "$wanted" > "$stamp"
}

# lend_packages FOLDER: let an environment import what .venv has, above all the compiled engine
lend_packages() {
    "$venv/bin/python" -c 'import sysconfig; path = sysconfig.get_path("purelib"); print(f"import site; site.addsitedir({path!r})")' \
        > "$(echo "$1"/lib/python3*/site-packages)/rerankd.pth"
}
