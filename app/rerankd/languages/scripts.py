"""The scripts of texts by Unicode's blocks, and the languages that are written in them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from functools import cache

from rerankd.languages.language import Language

LATIN_SCRIPT = "Latin"
NO_SCRIPT = ""

BLOCKS: tuple[tuple[int, str], ...] = (
    *(
        (0x0, LATIN_SCRIPT),
        (0x250, NO_SCRIPT),
        (0x370, "Greek"),
        (0x400, "Cyrillic"),
        (0x530, "Armenian"),
    ),
    *((0x590, "Hebrew"), (0x600, "Arabic"), (0x700, "Syriac"), (0x750, "Arabic")),
    *((0x780, "Thaana"), (0x7C0, NO_SCRIPT), (0x8A0, "Arabic"), (0x900, "Devanagari")),
    *((0x980, "Bengali"), (0xA00, "Gurmukhi"), (0xA80, "Gujarati"), (0xB00, "Oriya")),
    *((0xB80, "Tamil"), (0xC00, "Telugu"), (0xC80, "Kannada"), (0xD00, "Malayalam")),
    *((0xD80, "Sinhala"), (0xE00, "Thai"), (0xE80, "Lao"), (0xF00, "Tibetan")),
    *((0x1000, "Myanmar"), (0x10A0, "Georgian"), (0x1100, "Hangul"), (0x1200, "Ethiopic")),
    *((0x13A0, NO_SCRIPT), (0x1780, "Khmer"), (0x1800, "Mongolian"), (0x18B0, NO_SCRIPT)),
    *((0x1C80, "Cyrillic"), (0x1C90, "Georgian"), (0x1CC0, NO_SCRIPT), (0x1E00, LATIN_SCRIPT)),
    *((0x1F00, "Greek"), (0x2000, NO_SCRIPT), (0x2D00, "Georgian"), (0x2D30, NO_SCRIPT)),
    *((0x2D80, "Ethiopic"), (0x2DE0, "Cyrillic"), (0x2E00, NO_SCRIPT), (0x3005, "Han")),
    *(
        (0x3008, NO_SCRIPT),
        (0x3041, "Han"),
        (0x3100, NO_SCRIPT),
        (0x3131, "Hangul"),
        (0x3190, NO_SCRIPT),
    ),
    *((0x31F0, "Han"), (0x3200, NO_SCRIPT), (0x3400, "Han"), (0x4DC0, NO_SCRIPT), (0x4E00, "Han")),
    *((0xA000, NO_SCRIPT), (0xA640, "Cyrillic"), (0xA6A0, NO_SCRIPT), (0xA960, "Hangul")),
    *(
        (0xA980, NO_SCRIPT),
        (0xAB30, LATIN_SCRIPT),
        (0xAB70, NO_SCRIPT),
        (0xAC00, "Hangul"),
        (0xD800, NO_SCRIPT),
    ),
    *((0xF900, "Han"), (0xFB00, LATIN_SCRIPT), (0xFB13, "Armenian"), (0xFB1D, "Hebrew")),
    *((0xFB50, "Arabic"), (0xFE00, NO_SCRIPT), (0xFE70, "Arabic"), (0xFEFF, NO_SCRIPT)),
    *((0xFF21, LATIN_SCRIPT), (0xFF66, "Han"), (0xFFA0, "Hangul"), (0xFFDD, NO_SCRIPT)),
    *((0x20000, "Han"), (0x32000, NO_SCRIPT)),
)
"""Where each script begins and the one before it ends; NO_SCRIPT is all that has no language here.

Kana counts as Han, because Japanese is written in both.
"""
STARTS = [start for start, _ in BLOCKS]

WEIGHTS = {"Han": 3, "Hangul": 2}
"""How many letters of an alphabet one character of a script stands for."""

SCRIPT_LANGUAGES: dict[str, tuple[str, ...]] = {
    "Greek": ("el",),
    "Cyrillic": ("ru",),
    "Armenian": ("hy",),
    "Hebrew": ("he", "iw", "yi"),
    "Arabic": ("ar",),
    "Syriac": ("syr",),
    "Thaana": ("dv",),
    "Devanagari": ("hi", "mr", "ne", "sa", "bho", "mai"),
    "Bengali": ("bn", "as"),
    "Gurmukhi": ("pa",),
    "Gujarati": ("gu",),
    "Oriya": ("or",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Kannada": ("kn",),
    "Malayalam": ("ml",),
    "Sinhala": ("si",),
    "Thai": ("th",),
    "Lao": ("lo",),
    "Tibetan": ("bo", "dz"),
    "Myanmar": ("my", "shn"),
    "Georgian": ("ka",),
    "Hangul": ("ko",),
    "Ethiopic": ("am", "ti"),
    "Khmer": ("km",),
    "Mongolian": ("mn",),
    "Han": ("zh", "yue", "wuu", "lzh"),
}
"""The languages of each script, the most written one first; the others are close to it."""

LETTERS_OF: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "Cyrillic": (
        ("әғқңұһ", "kk", ("ky", "tt", "ba", "tg", "uz")),
        ("өү", "mn", ("kk", "ky", "tt", "ba")),
        ("ў", "be", ("uk",)),
        ("їєґі", "uk", ("be", "kk")),
        ("ѓќѕ", "mk", ("sr", "bg")),
        ("ђћјљњџ", "sr", ("mk", "bs", "hr", "sh", "cnr")),
    ),
    "Arabic": (
        ("ٹڈڑںےہ", "ur", ("pa", "ks")),
        ("ښځڅډړږګېۍ", "ps", ()),
        ("پچژگکی", "fa", ("ckb", "ku", "ug", "ur", "sd")),
    ),
}
"""Letters that only some of a script's languages have, with the language and those close to it."""
LETTERS_PER_OWN = 80
"""How many letters of a text must have one of its language's own among them."""
BULGARIAN = 0.008
"""Share of ъ among Cyrillic letters from which a text without ы and э is Bulgarian."""
KANA = 0.1
"""Share of kana among a text's characters in Han and kana from which it is Japanese."""
_beyond_latin = re.compile("[\u0370-\u1cff\u1f00-\u1fff\u2d00-\uffdc\U00020000-\U00032000]").search
_kana = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]").findall


def script_of(character: str) -> str:
    """Return the script of a letter; NO_SCRIPT for any other character."""
    if not character.isalpha():
        return NO_SCRIPT
    return BLOCKS[bisect_right(STARTS, ord(character)) - 1][1]


def count_scripts(text: str) -> Counter[str]:
    """Return how much of each script a text has, in letters; empty where all of it is Latin."""
    found: Counter[str] = Counter()
    if not _beyond_latin(text):  # most texts: nothing has to be counted
        return found
    for character, times in Counter(text).items():
        script = script_of(character)
        if script:
            found[script] += times * WEIGHTS.get(script, 1)
    return found


def language_of_script(script: str, text: str, amount: int) -> Language:
    """Return the language of a text in a script other than Latin, by letters of its own.

    `amount` is how much of the script it has, as `count_scripts` counts.
    """
    letters, total = Counter(text.lower()), amount // WEIGHTS.get(script, 1)
    if script == "Han" and len(_kana(text)) >= KANA * total:
        return Language("ja")
    for own, code, close in LETTERS_OF.get(script, ()):
        # In a long text, a name or a loan word has such a letter, too.
        if sum(letters[one] for one in own) >= max(1, total // LETTERS_PER_OWN):
            return Language(code, frozenset(close))
    if script == "Cyrillic" and not letters["ы"] + letters["э"]:
        if letters["ъ"] >= BULGARIAN * total:
            return Language("bg", frozenset({"mk", "ru"}))
        return Language("ru", frozenset({"uk", "bg", "be", "sr", "mk"}))
    return _language(script)


@cache
def _language(script: str) -> Language:
    code, *close = SCRIPT_LANGUAGES[script]
    return Language(code, frozenset(close))
