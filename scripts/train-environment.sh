#!/usr/bin/env bash
# Install what training needs into .venv-train; PyTorch's builds differ, so without a lock.
. "$(dirname "$0")/environment.sh"
there=$PWD/.venv-train
wanted=$(cksum < pyproject.toml)
if is_current "$there/installed" "$wanted"; then exit 0; fi
create_venv "$there"
pip_install "$there" "pip>=25.1"
pip_install "$there" --group train
# rerankd itself, whose llama.cpp computes the vectors that rerank-mini-multi is fitted on.
pip_install "$there" --editable .
echo "$wanted" > "$there/installed"
