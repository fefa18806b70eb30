"""Pictures from strangers: fetched, decoded and scaled, within bounds. Knows nothing of models."""

from rerankd.pictures.decoder import PictureDecoder, PictureLimits
from rerankd.pictures.decoder import decode_once as decode
from rerankd.pictures.fetching import PictureFetcher
from rerankd.pictures.hosts import host_rules
from rerankd.pictures.scaling import ScaleRule

__all__ = [
    "PictureDecoder",
    "PictureFetcher",
    "PictureLimits",
    "ScaleRule",
    "decode",
    "host_rules",
]
