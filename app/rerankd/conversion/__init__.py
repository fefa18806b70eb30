"""Checkpoints, as models are trained and published, to GGUF files with their whole score head.

`checkpoint` reads a folder of safetensors, `vocabulary` its tokenizer, `heads` its score head. Each
network has a module that says what its file holds (`bert`, `modern_bert`, `jina_bert`), `writing`
writes it, and `converting` is the way through all of them.
"""
