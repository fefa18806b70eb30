"""The languages of texts: sure where they are plain, silent where they are names, code or mixed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.deployments.known_answers import KNOWN_ANSWERS
from rerankd.languages import Language, RequestLanguages, detect_languages
from rerankd.languages.detection import SAMPLE_CHARACTERS, SAMPLE_TEXTS
from rerankd.languages.function_words import FUNCTION_WORDS
from rerankd.languages.latin import ALPHABETS, CODES, SHARED_CODES, words_of
from rerankd.languages.names import NAMES
from rerankd.languages.scripts import BLOCKS, LETTERS_OF, SCRIPT_LANGUAGES

# ruff: noqa: E501 - a language a line
PLAIN = {
    "af": "Die hond is baie groot en hy slaap nie in die huis nie, want dit is te warm.",
    "ar": "تقع عاصمة مصر على ضفاف نهر النيل وهي أكبر مدينة في البلاد.",
    "be": "Сталіца краіны знаходзіцца на беразе ракі, і ў ёй жыве шмат людзей.",
    "bg": "Градът се намира на брега на реката и в него живеят много хора, които са родени тук.",
    "bn": "দেশের রাজধানী নদীর তীরে অবস্থিত।",
    "ca": "La capital del país és a la vora del riu i hi viuen moltes persones que treballen amb nosaltres.",
    "cs": "Hlavní město leží na břehu řeky a žije v něm mnoho lidí, kteří se tam narodili.",
    "da": "Hovedstaden ligger ved floden, og der bor mange mennesker, som ikke er født der.",
    "de": "Die Hauptstadt liegt am Fluss, und dort wohnen viele Menschen, die nicht dort geboren sind.",
    "el": "Η πρωτεύουσα της χώρας βρίσκεται δίπλα στον ποταμό.",
    "en": "The capital is on the river, and many people live there who were not born in it.",
    "es": "La capital del país está junto al río y en ella viven muchas personas que no nacieron allí.",
    "et": "Pealinn on jõe ääres ja seal elab palju inimesi, kes ei ole selles linnas sündinud.",
    "fa": "پایتخت این کشور در کنار رودخانه قرار دارد و مردم زیادی در آن زندگی می‌کنند.",
    "fi": "Pääkaupunki on joen varrella, ja siellä asuu paljon ihmisiä, jotka eivät ole syntyneet siellä.",
    "fr": "La capitale se trouve au bord du fleuve et beaucoup de gens y vivent sans y être nés.",
    "he": "בירת המדינה נמצאת על גדות הנהר.",
    "hi": "देश की राजधानी नदी के किनारे पर है।",
    "hr": "Glavni grad nalazi se na obali rijeke i u njemu živi mnogo ljudi koji nisu rođeni u njemu.",
    "hu": "A főváros a folyó partján van, és sok olyan ember él ott, aki nem ott született.",
    "hy": "Երկրի մայրաքաղաքը գտնվում է գետի ափին։",
    "id": "Ibu kota negara itu berada di tepi sungai dan banyak orang yang tinggal di sana.",
    "is": "Höfuðborgin er við ána og þar búa margir sem ekki eru fæddir þar.",
    "it": "La capitale si trova sul fiume e ci vivono molte persone che non sono nate lì.",
    "ja": "この国の首都は川のほとりにあり、多くの人が住んでいます。",
    "ka": "ქვეყნის დედაქალაქი მდინარის ნაპირზე მდებარეობს.",
    "kk": "Елдің астанасы өзеннің жағасында орналасқан, онда көп адам тұрады.",
    "km": "រដ្ឋធានីនៃប្រទេសស្ថិតនៅលើច្រាំងទន្លេ។",
    "ko": "이 나라의 수도는 강가에 있으며 많은 사람이 살고 있다.",
    "lt": "Sostinė yra prie upės, ir joje gyvena daug žmonių, kurie ten nėra gimę.",
    "lv": "Galvaspilsēta atrodas pie upes, un tajā dzīvo daudz cilvēku, kas tur nav dzimuši.",
    "mk": "Главниот град на земјата се наоѓа крај реката, а во неа имаше куќи и сѐ уште ѓаволски ѕид.",
    "nl": "De hoofdstad ligt aan de rivier en er wonen veel mensen die er niet geboren zijn.",
    "no": "Hovedstaden ligger ved elven, og det bor mange mennesker der som ikke ble født etter krigen.",
    "pl": "Stolica leży nad rzeką i mieszka w niej wielu ludzi, którzy się tam nie urodzili.",
    "pt": "A capital fica junto ao rio e nela vivem muitas pessoas que não nasceram ali.",
    "ro": "Capitala se află pe malul râului și acolo trăiesc mulți oameni care nu s-au născut în ea.",
    "ru": "Столица страны находится на берегу реки, и в ней живёт много людей, которые там не родились.",
    "sk": "Hlavné mesto leží na brehu rieky a žije v ňom veľa ľudí, ktorí sa tam nenarodili.",
    "sl": "Glavno mesto leži ob reki in v njem živi veliko ljudi, ki se tam niso rodili.",
    "sq": "Kryeqyteti ndodhet pranë lumit dhe aty jetojnë shumë njerëz që nuk kanë lindur në të.",
    "sr": "Главни град се налази на обали реке и у њему живи много људи који нису рођени ту.",
    "sv": "Huvudstaden ligger vid floden, och där bor många människor som inte är födda där.",
    "sw": "Mji mkuu wa nchi hiyo uko kando ya mto na watu wengi wanaishi ndani yake kwa sababu ya kazi.",
    "ta": "நாட்டின் தலைநகரம் ஆற்றின் கரையில் உள்ளது.",
    "th": "เมืองหลวงของประเทศตั้งอยู่ริมแม่น้ำ",
    "tl": "Ang kabisera ng bansa ay nasa tabi ng ilog at maraming tao ang nakatira sa lungsod na ito.",
    "tr": "Başkent nehrin kıyısında ve orada doğmamış olan çok sayıda insan için bir yuvadır.",
    "uk": "Столиця країни розташована на березі річки, і в ній живе багато людей.",
    "ur": "ملک کا دارالحکومت دریا کے کنارے واقع ہے اور یہاں بہت سے لوگ رہتے ہیں۔",
    "vi": "Thủ đô nằm bên bờ sông và có nhiều người sống ở đó nhưng không sinh ra ở đó.",
    "zh": "这个国家的首都位于河边，有很多人住在那里。",
}

SILENT = (
    ("a name", "东京", ["Tokyo"]),
    ("a name in Cyrillic", "Москва", ["Moscow is the capital of Russia."]),
    ("names", "engineers", ["María López", "Juan de la Cruz", "José de la Torre", "Zoë Müller"]),
    ("products", "Nike Air Max", ["Nike Air Max 270 React", "Adidas Ultraboost 22"]),
    ("identifiers", "CVE-2021-44228", ["COS4101", "row 431", "0x8007000E"]),
    ("numbers", "12.5", ["1", "22", "3 333"]),
    (
        "code",
        "for i in range(n): s += a[i]",
        ["int main(void) { return d[0]; }", "#define D(o, u) o"],
    ),
    (
        "one foreign word",
        "what is Weltschmerz",
        ["The word Schadenfreude is used in English, too."],
    ),
    ("loan words", "naïve café", ["The résumé of a naïve man in the café à la carte, en route."]),
    (
        "mathematics",
        "the value of π",
        ["The angle α is the sum of β and γ in the plane of the orbit."],
    ),
    (
        "a quoted title",
        "who wrote it",
        ["The novel 戦争 by an author of the period was sold in Japan."],
    ),
    ("nothing", "", []),
    ("blanks", " \n", ["", "\0", "…"]),
)


def of_documents(*documents: str) -> Language | None:
    return detect_languages(["?"], [documents]).documents


@pytest.mark.parametrize("code", PLAIN)
def test_a_plain_sentence_has_its_language(code: str) -> None:
    """One sentence is enough, as a document and as a query."""
    found = detect_languages([PLAIN[code]], [[PLAIN[code]]])

    assert found.documents == found.query
    assert found.documents is not None
    assert code == found.documents.code
    assert code not in found.documents.close


@pytest.mark.parametrize("code", KNOWN_ANSWERS)
def test_the_load_checks_texts_have_their_languages(code: str) -> None:
    """The texts that models are judged by are told apart, queries and all."""
    questions = [query for query, _ in KNOWN_ANSWERS[code]]
    answers = [text for _, text in KNOWN_ANSWERS[code]]

    found = detect_languages([" ".join(questions)], [answers])

    assert found.documents is not None
    assert found.documents.is_among([code])
    assert found.query is not None
    assert found.query.is_among([code])


@pytest.mark.parametrize(("query", "documents"), [one[1:] for one in SILENT], ids=lambda _: "")
def test_what_is_no_running_text_raises_no_alarm(query: str, documents: list[str]) -> None:
    """Names, code, numbers and single foreign words count for no language but English."""
    assert {} == detect_languages([query], [documents]).lacking(["en"])


def test_a_foreign_quarter_of_documents_counts() -> None:
    """A model that lacks their language misranks them, however many English ones there are."""
    english = [PLAIN["en"]] * 6

    for code in ("de", "ar", "zh"):
        found = of_documents(*english, PLAIN[code], PLAIN[code])
        assert found is not None
        assert code == found.code
    assert of_documents(*english, PLAIN["de"]) == Language("en")


@pytest.mark.parametrize(
    ("code", "query", "documents"),
    [
        ("ar", "ما هو الباندا؟", ["مرحبا", "إنه دب"]),
        ("el", "τι είναι;", ["γεια", "αρκούδα"]),
        ("he", "מה זה?", ["שלום", "דוב"]),
        ("ja", "熊", ["クマ", "hi"]),
        ("ko", "곰", ["안녕", "곰이다"]),
        ("ru", "что?", ["да", "медведь"]),
        ("th", "แพนด้าคืออะไร", ["มันคือหมี"]),
        ("zh", "熊猫", ["熊", "1984"]),
    ],
)
def test_short_texts_in_one_script_have_a_language(
    code: str, query: str, documents: list[str]
) -> None:
    """A model without the script reads nothing of such a request, however short it is."""
    found = detect_languages([query], [documents])

    assert found.query
    assert found.documents
    assert (found.query.code, found.documents.code) == (code, code)


def test_query_and_documents_may_differ() -> None:
    """Each is looked at, and the documents' language comes first."""
    found = detect_languages([PLAIN["de"]], [[PLAIN["ja"]]])

    assert ["documents", "query"] == list(found.lacking(["en"]))
    assert ["query"] == list(found.lacking(["en", "ja"]))
    assert {} == found.lacking(["mul"])


def test_a_model_has_a_language_that_is_hard_to_tell_from_one_of_its_own() -> None:
    """Norwegian is no alarm for a Danish model, nor is any text for one of unknown languages."""
    norwegian = Language("no", frozenset({"da", "nb"}))

    assert norwegian.is_among(["en", "da"])
    assert norwegian.is_among(["nb-NO"])
    assert norwegian.is_among([])
    assert norwegian.is_among(["multilingual"])
    assert not norwegian.is_among(["en", "sv"])


texts = st.text(max_size=60)
requests = st.tuples(
    st.lists(texts, max_size=3), st.lists(st.lists(texts, max_size=20), max_size=3)
)


@given(requests)
def test_any_texts_get_the_same_answer_twice(request: tuple[list[str], list[list[str]]]) -> None:
    """Detection never raises and depends on nothing but the texts; every code has a name."""
    queries, documents = request

    found = detect_languages(queries, documents)

    assert found == detect_languages(tuple(queries), [tuple(one) for one in documents])
    for one in found.lacking(["xx"]).values():
        assert one.label


@given(st.integers(0, 0x10FFFF))
def test_any_character_may_fill_a_text(number: int) -> None:
    """Lone surrogates, marks and letters of unknown scripts are read like any other."""
    detect_languages([chr(number) * 40], [[f"{chr(number)}ä " * 20]])


def test_few_characters_of_many_texts_are_read() -> None:
    """What lies beyond the sample changes nothing, so large requests cost what small ones do."""
    long = PLAIN["en"] + " " * SAMPLE_CHARACTERS
    count = 100 * SAMPLE_TEXTS

    found = of_documents(*[long + PLAIN["de"] * 1000] * count)

    assert found == Language("en")


def test_the_tables_fit_together() -> None:
    """Every language has a name; function words are as texts are split, and in no list twice."""
    of_scripts = {codes[0] for codes in SCRIPT_LANGUAGES.values()}
    of_letters = {code for rows in LETTERS_OF.values() for _, code, _ in rows}
    assert {*CODES, *of_scripts, *of_letters, "ja", "bg"} <= NAMES.keys()
    assert ALPHABETS.keys() | SHARED_CODES.keys() <= set(CODES)
    assert sorted(BLOCKS) == list(BLOCKS)
    assert {script for _, script in BLOCKS} - {"", "Latin"} == SCRIPT_LANGUAGES.keys()
    for code, words in FUNCTION_WORDS.items():
        assert words.split() == words_of(words.lower()), code


def test_nothing_is_lacking_where_nothing_is_known() -> None:
    """Texts whose language is unknown are no reason to warn."""
    assert {} == RequestLanguages().lacking(["en"])
