"""llama.cpp through ctypes."""

from rerankd.engine.llama.lazy_package import put_in_place

put_in_place()
