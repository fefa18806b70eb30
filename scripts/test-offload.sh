#!/usr/bin/env bash
# test-offload.sh OPTION...: build llama.cpp for Vulkan into .venv-vulkan and run its tests.
. "$(dirname "$0")/environment.sh"
there=$PWD/.venv-vulkan
unset RERANKD_ENGINE_WHEEL # it is for CPUs
export CMAKE_ARGS="-DGGML_VULKAN=on ${CMAKE_ARGS:-}"
install_environment "$there" dev dev "$CMAKE_ARGS"
# llama.cpp passes over a driver without a GPU unless it is named; twice makes two devices.
GGML_VK_VISIBLE_DEVICES="${GGML_VK_VISIBLE_DEVICES:-0,0}" "$there/bin/python" -m pytest tests/integration/offload "$@"
