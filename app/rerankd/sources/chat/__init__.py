"""Chat templates of GGUF files, which are code: rendered once, apart, into fixed text and slots."""
