"""Training of the embedded model; its own dependencies, never needed to run rerankd."""
