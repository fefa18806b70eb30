#!/usr/bin/env bash
# install.sh NAME: compile the locked llama.cpp into .venv and install requirements/NAME.txt there.
. "$(dirname "$0")/environment.sh"
install_environment "$venv" "$1" runtime "plain: ${RERANKD_PLAIN_ENGINE:-} pictures: ${RERANKD_PICTURES:-}"
