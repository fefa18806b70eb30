"""How good and how fast a model is here: evaluation, tuning and benchmarks."""
