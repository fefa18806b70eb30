#!/usr/bin/env bash
# Unpack the llama-cpp-python of a lock, hashes checked, into a folder that is there.
#   unpack.sh PYTHON LOCK FOLDER
set -euo pipefail
python=$1 lock=$2 folder=$3

awk '/^llama-cpp-python==/ { found = 1 } found { print } found && !/\\$/ { exit }' "$lock" > "$folder/locked.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
    --require-hashes -r "$folder/locked.txt" -d "$folder"
tar -xzf "$folder"/llama_cpp_python-*.tar.gz -C "$folder" --strip-components 1
