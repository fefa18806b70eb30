"""Pictures from strangers: fetched, decoded and scaled, within bounds. Knows nothing of models."""

from rerankd.pictures.decoder import PictureDecoder, PictureLimits, decode
from rerankd.pictures.scaling import ScaleRule

__all__ = ["PictureDecoder", "PictureLimits", "ScaleRule", "decode"]
