"""What `just pack-gpu` packs and `just test-gpu` runs on a CUDA machine (docs/gpu.md)."""
