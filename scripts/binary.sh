#!/usr/bin/env bash
# Make dist/rerankd from .venv-portable, whose llama.cpp is compiled for many processors.
. "$(dirname "$0")/environment.sh"
work=$PWD/build/binary

install_portable
mkdir -p "$work"
wanted=$(find app models binary LICENSE "$portable"/*.installed -type f -not -name '*.pyc' -not -path 'models/train/*' -print0 | sort -z | xargs -0 cksum)
if [ -x dist/rerankd ] && is_current "$work/made" "$wanted"; then exit 0; fi
rm -f "$work/made"
cc -std=gnu11 -O2 -Wall -Wextra -static -s -o "$work/launcher" binary/launcher.c -lzstd || {
    echo "the launcher needs a C compiler and zstd's static library (Debian: build-essential libzstd-dev)" >&2
    exit 1
}
PYTHONHASHSEED=0 "$portable/bin/python" -m PyInstaller --noconfirm --clean --log-level ERROR --workpath "$work/work" --distpath "$work" binary/rerankd.spec
SOURCE_DATE_EPOCH=$(build_time) "$portable/bin/python" binary/pack.py "$work/launcher" "$work/rerankd" dist/rerankd
echo "$wanted" > "$work/made"
