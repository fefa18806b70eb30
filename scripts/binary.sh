#!/usr/bin/env bash
# binary.sh [--release | ARCHITECTURE]: make dist/rerankd from .venv-portable, whose llama.cpp is compiled for
# many processors; or, for another architecture than this machine's, dist/rerankd-ARCHITECTURE (cross.sh). With
# --release, what a release makes here.
. "$(dirname "$0")/environment.sh"
. scripts/cross.sh
if [ "${1:-}" = --release ]; then
    architectures=$(binary_architectures)
    for architecture in $architectures; do scripts/binary.sh "$architecture"; done
    exit
fi
architecture=${1:-$(uname -m)}
if [ "$architecture" = "$(uname -m)" ]; then
    install_portable
    work=$PWD/build/binary output=dist/rerankd packer=$portable/bin/python maker=$portable compiler=cc root=()
    stamps=("$portable"/*.installed) flags=()
else
    install_cross_environment "$architecture"
    there=$PWD/build/$architecture
    work=$there/binary output=dist/rerankd-$architecture packer=$builder/bin/python maker=$there/venv
    compiler=$architecture-linux-gnu-gcc root=("$there/root") stamps=("$there/venv/installed" "$PWD/build/engine-$architecture/engine.installed")
    flags=(-I "$there/root/usr/include" -L "$there/root/usr/lib/$architecture-linux-gnu")
    export PATH=$there/tools:$PATH # ldd, for PyInstaller
fi

mkdir -p "$work"
wanted=$(find app models binary LICENSE "${stamps[@]}" -type f -not -name '*.pyc' -not -path 'models/train/*' -print0 | sort -z | xargs -0 cksum)
if [ -x "$output" ] && is_current "$work/made" "$wanted"; then exit 0; fi
rm -f "$work/made"
"$compiler" -std=gnu11 -O2 -Wall -Wextra -static -s "${flags[@]}" -o "$work/launcher" binary/launcher.c -lzstd || {
    echo "the launcher needs a C compiler and zstd's static library (Debian: build-essential libzstd-dev)" >&2
    exit 1
}
PYTHONHASHSEED=0 "$maker/bin/python" -m PyInstaller --noconfirm --clean --log-level ERROR --workpath "$work/work" --distpath "$work" binary/rerankd.spec
SOURCE_DATE_EPOCH=$(build_time) "$packer" binary/pack.py "$work/launcher" "$work/rerankd" "$output" "${root[@]}"
echo "$wanted" > "$work/made"
