"""The languages of texts: by script, then by function words. Knows nothing of models."""

from rerankd.languages.detection import detect_languages
from rerankd.languages.language import MANY_LANGUAGES, Language, RequestLanguages

__all__ = ["MANY_LANGUAGES", "Language", "RequestLanguages", "detect_languages"]
