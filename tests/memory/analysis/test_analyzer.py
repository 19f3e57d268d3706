"""Text to terms: whatever the script, a word of a text is found by itself, however it is spelt."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import ConfigError
from hoptrail.memory.analysis.analyzer import Analyzer

ANALYZER = Analyzer()


def terms(text: str, analyzer: Analyzer = ANALYZER) -> list[str]:
    return [term for word in analyzer.words(text) if (term := analyzer.term(word)) is not None]


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("Moored at berth 9.", ["9"]),
        ("Rich in vitamin K2 and E", ["K2", "e"]),
        ("See release 1.2.1, please", ["1.2.1", "2"]),
        ("since v3.10.4-rc1", ["v3.10.4-rc1", "3.10.4-rc1", "rc1", "3"]),
        ("host 10.0.12.7:8080 is down", ["10.0.12.7:8080", "10.0.12.7", "8080"]),
        ("on 2024-05-01T10:30:00", ["2024-05-01", "10:30:00", "2024"]),
        ("paid INV-1042 late", ["INV-1042", "inv", "1042"]),
        ("part SN40981 broke", ["sn40981", "40981"]),
        ("calls get_user_name()", ["get_user_name", "user"]),
        ("calls getUserName()", ["getUserName", "getusername", "user"]),
        ("an HTTPServer", ["httpserver", "server"]),
        ("the __init__ method", ["__init__", "init"]),
        ("some _emphasis_ here", ["emphasis"]),
        ("ask jane.doe@example.org", ["jane.doe@example.org", "example.org", "jane"]),
        ("at https://example.org/a/INSTALL.md", ["example.org", "INSTALL.md", "install"]),
        ("written in C++.", ["C++", "c"]),
        ("written in C#, mostly", ["C#"]),
        ("runs on .NET", [".NET", "net"]),
        ("his grade was A+", ["A+"]),
        ("group B- blood", ["B-", "b"]),
        ("AT&T and R&D", ["AT&T", "r&d"]),
        ("cost 12,500 francs", ["12500", "12,500"]),
        ("at -5 degrees", ["-5", "5"]),
        ("took 500mg", ["500mg", "500", "mg"]),
        ("moved to the U.S. early", ["U.S.", "US"]),
        ("a lack of vitamin A, it says", ["vitamin A"]),
        ("Elizabeth I of England", ["Elizabeth I"]),
        ("the season of 1894\u201395", ["1894-95"]),
    ],
)
def test_digits_letters_and_identifiers_are_found_whole_and_in_parts(
    text: str, queries: list[str]
) -> None:
    for query in queries:
        assert terms(query), query
        assert set(terms(query)) <= set(terms(text)), query


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("release 1.2.1", "release 1.1.2"),
        ("C++", "C#"),
        ("grade A+", "grade A-"),
        ("version 2.0", "version 20"),
        ("10.0.0.1", "10.0.1.0"),
        ("vitamin A", "vitamin K"),
    ],
)
def test_what_differs_in_a_character_differs_in_terms(one: str, other: str) -> None:
    assert sorted(terms(one)) != sorted(terms(other))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Die STRASSE nach Köln", "straße"),
        ("Zürich liegt am See", "zurich"),
        ("İstanbul büyük bir şehir", "istanbul"),
        ("ISPARTA gülleriyle ünlü", "ısparta"),
        ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
        ("Ёлка стоит", "елка"),
        ("Мой район", "РАЙОН"),
        ("\uff46\uff55\uff4c\uff4c \uff11\uff12", "full 12"),
        ("ﾊﾞﾅﾅ", "バナナ"),
        ("كِتَابٌ جَدِيدٌ", "كتاب"),
        ("قرأت الكتاب", "كتاب"),
        ("كـــتاب", "كتاب"),
        ("أحمد", "احمد"),
        ("القاهرة", "القاهره"),
        ("رقم ٤٢", "42"),
        ("می‌روم", "میروم"),
        ("שָׁלוֹם לכם", "שלום"),
        ("यह हिन्दी किताब है", "किताब"),
        ("তিনি বাংলা বলেন", "বাংলা"),
        ("தமிழ் மொழி", "தமிழ்"),
        ("東京は日本の首都である。", "首都"),
        ("他在2024年加入华为公司", "华为"),
        ("他在2024年加入华为公司", "2024"),
        ("ラーメンを食べた", "ラーメン"),
        ("서울에서 만났다", "서울"),
        ("섬입니다", "섬"),
        ("ฉันชอบกินทุเรียนมาก", "ทุเรียน"),
        ("ຂ້ອຍຢູ່ວຽງຈັນ", "ວຽງຈັນ"),
        ("ខ្ញុំរស់នៅភ្នំពេញ", "ភ្នំពេញ"),
        ("ကျွန်တော်မန္တလေးမှာနေတယ်", "မန္တလေး"),
        ("iPhone15は高い", "iphone"),
        ("the soft\u00adhyphen", "softhyphen"),
        ("Don’t go to O’Brien", "o'brien"),
    ],
)
def test_every_script_is_found_by_its_own_words(text: str, query: str) -> None:
    assert terms(query)
    assert set(terms(query)) <= set(terms(text))


def test_marks_stay_with_their_letter() -> None:
    assert terms("दिल्ली") == ["दिल्ली"]
    assert terms("ガ") != terms("カ")
    assert terms("กิน") == ["กิ", "น", "กิน"]


def test_an_elision_leaves_no_letter_behind() -> None:
    assert terms("don't I'm Anna's l'eau") == ["don", "anna", "eau"]
    assert terms("rock 'n' roll, 5'10") == ["rock", "roll", "n", "5", "10"]


def test_names_are_not_taken_apart_at_their_capitals() -> None:
    assert terms("McDonald DiCaprio PDFs iPhone") == ["mcdonald", "dicaprio", "pdfs", "iphon"]


def test_letters_that_are_function_words_are_terms_only_where_they_are_none() -> None:
    assert terms("A plan I made, as I said, is a plan") == ["plan", "made", "said", "plan"]
    assert terms("make plans A") == ["make", "plan", "plan a"]


@pytest.mark.parametrize("text", ["", "  ", "!?", "→≠", "___", "…—–", "\u0301", "\ufe0f", "'"])
def test_signs_alone_are_no_terms(text: str) -> None:
    assert terms(text) == []


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("Party tonight 🎉🎂!", ["🎉", "🎂", "party"]),
        ("great👍🏽", ["👍", "👍🏽", "great"]),
        ("I ❤️ Delft", ["❤", "❤️"]),
        ("from 🇳🇴 to 🇸🇪", ["🇳🇴", "🇸🇪"]),
        ("the 👨‍👩‍👧 next door", ["👨‍👩‍👧", "👧"]),
        ("東京☀️晴れ", ["☀", "晴れ"]),
    ],
)
def test_emoji_are_words(text: str, queries: list[str]) -> None:
    for query in queries:
        assert terms(query)
        assert set(terms(query)) <= set(terms(text)), query
    assert not set(terms("🇳🇪 🎈 👎")) & set(terms(text))  # a flag is not its letters


@given(st.text(max_size=60))
def test_any_text_has_the_same_terms_in_every_normal_form(text: str) -> None:
    forms = {form: terms(unicodedata.normalize(form, text)) for form in ("NFC", "NFD", "NFKC")}
    assert forms["NFC"] == forms["NFD"] == terms(text)
    if "\u2122" not in text and "\u2120" not in text:  # signs that a normal form makes letters of
        assert forms["NFKC"] == terms(text)


LETTERS = st.characters(categories=("Ll", "Lu", "Lo", "Nd"), max_codepoint=0xFFFF)


@given(st.text(LETTERS, min_size=1, max_size=12), st.text(LETTERS, min_size=1, max_size=12))
def test_a_word_of_a_text_is_found_by_itself(word: str, other: str) -> None:
    assert set(terms(word)) <= set(terms(f"{other} {word}, {other}"))


@pytest.mark.parametrize(
    "unit",
    [" ", "a", "A", "aA", "AAaa", "1", "a1", "1,", "1,000,", "a.", "a-", "-", ".", "_", "'", "a'",
     "@", "a@", ":/", "+", "漢", "ก", "์", "\u0301", "٣", "😀", "A a ", "1:1", "\n", "a\n."],
)  # fmt: skip
def test_time_is_linear_whatever_is_repeated(unit: str) -> None:
    def seconds(count: int) -> float:
        began = time.process_time()
        terms(unit * count)
        return time.process_time() - began

    assert min(seconds(80_000) for _ in range(2)) < 8 * seconds(20_000) + 0.3


def test_a_language_has_its_own_stemmer_and_english_alone_has_stop_words() -> None:
    german, none = Analyzer("german"), Analyzer("none")
    assert terms("Häuser", german) == terms("Haus", german)
    assert terms("Häuser", none) == ["hauser"]
    assert terms("the bridges", none) == ["the", "bridges"]
    assert terms("was", german) == ["was"]


@pytest.mark.parametrize("language", ["klingon", "", "English"])
def test_an_unknown_language_is_refused(language: str) -> None:
    with pytest.raises(ConfigError, match="language must be one of none, arabic"):
        Analyzer(language)
