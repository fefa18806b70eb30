"""Tokens of one step on a GPU, by how a family's networks work.

`just gpu-steps REPORT` writes this file from the sweep of a report of `just test-gpu`.
"""

MEASURED_ON = ""
"""The GPU; empty: none, and the numbers are a guess, four times llama.cpp's default of 512, which
large GPUs finish before they are busy."""

ENCODER_GPU_STEP = 2048
CAUSAL_GPU_STEP = 2048
