#!/usr/bin/env bash
# engine.sh ARCHITECTURE: compile llama.cpp for an architecture into build/engine-ARCHITECTURE, which
# wheels.sh makes an engine wheel of.
. "$(dirname "$0")/environment.sh"
. scripts/cross.sh
install_cross_engine "$1"
