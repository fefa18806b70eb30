#!/usr/bin/env bash
# wheels.sh [--release | ARCHITECTURE...]: put llama.cpp with our patches, compiled for all processors of an
# architecture, into a wheel in dist/ that any Python takes: for this machine's architecture if none is named,
# and with --release also for those that it can compile for.
. "$(dirname "$0")/environment.sh"
. scripts/cross.sh
tools=$PWD/.venv-release work=$PWD/build/wheels
version=$(engine_version requirements/binary.txt)
install_tools "$tools" release
export PATH="$tools/bin:$PATH" PYTHONPATH="$PWD/scripts" SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(build_time)
[ "${1:-}" != --release ] || set -- $(wheel_architectures "$version")
[ $# -gt 0 ] || set -- "$(uname -m)"

for architecture; do
    # Of a cross build, what its installation would be, and the compiler that knows where its libraries are.
    engine=$PWD/build/engine-$architecture compiler=$architecture-linux-gnu-gcc
    if [ "$architecture" = "$(uname -m)" ]; then
        install_portable
        engine=$(echo "$portable"/lib/python3*/site-packages) compiler=cc
    else
        install_cross_engine "$architecture"
    fi
    there=$work/$architecture
    rm -rf "$there"
    mkdir -p "$there/licences" dist
    cp $patches/LICENSE "$there/licences/LICENSE-llama.cpp"
    copyright=/usr/share/doc/libgomp1/copyright # Debian's and Ubuntu's
    [ ! -f $copyright ] || cp $copyright "$there/licences/COPYRIGHT-libgomp"
    "$tools/bin/python" -m release.engine_wheel "$engine" "$version" "$architecture" "$there/licences" "$there/wheel"
    wheel pack --dest-dir "$there" "$there/wheel" >/dev/null
    # Adds libgomp, and names the oldest system whose libraries have all symbols that are asked for.
    libgomp=$($compiler -print-file-name=libgomp.so.1)
    AUDITWHEEL_LD_LIBRARY_PATH=${libgomp%/*} \
        auditwheel repair --wheel-dir "$there/repaired" "$there"/*.whl 2>"$there/log" || {
        cat "$there/log" >&2
        exit 1
    }
    delete_engines "$version" "$architecture"
    mv "$there"/repaired/*.whl dist
    ls dist/llama_cpp_python-*_"$architecture".whl
done
