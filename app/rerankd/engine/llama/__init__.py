"""llama.cpp through ctypes."""
