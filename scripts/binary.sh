#!/usr/bin/env bash
# Make dist/rerankd from .venv-portable, whose llama.cpp is compiled for many processors.
. "$(dirname "$0")/environment.sh"
portable=$PWD/.venv-portable work=$PWD/build/binary

. $patches/portable.env
flags=-DCMAKE_INSTALL_BINDIR=llama_cpp/lib
export RERANKD_CPU_VARIANTS=all CMAKE_ARGS=$flags
install_environment "$portable" binary binary "$CPU_VARIANTS $CPU_FLAGS $flags"

mkdir -p "$work"
wanted=$(find app models binary LICENSE "$portable"/*.installed -type f -not -name '*.pyc' -not -path 'models/train/*' -print0 | sort -z | xargs -0 cksum)
if [ -x dist/rerankd ] && is_current "$work/made" "$wanted"; then exit 0; fi
rm -f "$work/made"
cc -std=gnu11 -O2 -Wall -Wextra -static -s -o "$work/launcher" binary/launcher.c -lzstd || {
    echo "the launcher needs a C compiler and zstd's static library (Debian: build-essential libzstd-dev)" >&2
    exit 1
}
PYTHONHASHSEED=0 "$portable/bin/python" -m PyInstaller --noconfirm --clean --log-level ERROR --workpath "$work/work" --distpath "$work" binary/rerankd.spec
# Times inside are the commit's, not this moment's.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" \
    "$portable/bin/python" binary/pack.py "$work/launcher" "$work/rerankd" dist/rerankd
echo "$wanted" > "$work/made"
