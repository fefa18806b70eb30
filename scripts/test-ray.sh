#!/usr/bin/env bash
# test-ray.sh OPTION...: install Ray into .venv-ray, beside what .venv has, and run its tests.
. "$(dirname "$0")/environment.sh"
there=$PWD/.venv-ray lock=tests/integration/ray/requirements.txt
if ! cmp --silent $lock "$there/installed.txt"; then
    rm -rf "$there"
    python=$venv/bin/python create_venv "$there"
    pip_install "$there" --require-hashes -r $lock
    lend_packages "$there"
    cp $lock "$there/installed.txt"
fi
"$there/bin/python" -m pytest -W ignore tests/integration/ray "$@"
