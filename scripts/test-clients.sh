#!/usr/bin/env bash
# test-clients.sh OPTION...: install client libraries, an environment for each lock, and run them.
. "$(dirname "$0")/environment.sh"
there=$PWD/.venv-clients clients=tests/integration/clients
uv=$there/uv/bin/uv # several times as fast as pip for nine environments
[ -x "$uv" ] || { create_venv "$there/uv"; pip_install "$there/uv" uv==0.13.9; }
for lock in $clients/requirements/*.txt; do
    own=$there/$(basename "$lock" .txt)
    cmp --silent "$lock" "$own/installed.txt" && continue
    "$uv" venv --quiet --clear --python "$venv/bin/python" "$own"
    "$uv" pip install --quiet --python "$own/bin/python" --require-hashes -r "$lock"
    cp "$lock" "$own/installed.txt"
done
if command -v npm >/dev/null; then
    mkdir -p "$there/javascript"
    cp $clients/javascript/* "$there/javascript"
    (cd "$there/javascript" && npm ci --silent --ignore-scripts --no-audit --no-fund)
fi
"$venv/bin/python" -m pytest $clients "$@"
