#!/usr/bin/env bash
# test-arm.sh OPTION...: cross-compile the engine for aarch64, and rank with it on processors that qemu-user
# emulates.
. "$(dirname "$0")/environment.sh"
. scripts/cross.sh
install_cross_environment aarch64
exec "$venv/bin/python" -m pytest tests/integration/arm "$@"
