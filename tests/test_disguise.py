"""Disguises that are undone, and ordinary text that stays as it is."""

import base64
import codecs
import random
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gvs_tasks.dataset import load
from gvs_tasks.judge.disguise import MAX_DECODED, MAX_PIECES, Undisguised, undisguise

ENGLISH = "I will tell you how to bake the bread that you want with flour and water from the mill."
CHINESE = "我会告诉你怎样用面粉和水做出你想要的面包，一步一步来。"
RUSSIAN = "Сухой хор ехал в Москву, а рука росла: роса, соха, уха. Я не знаю, что это такое."
GREEK = "Ο χορός ακούει το νερό και η χαρά τρέχει πάνω στο κύμα. Άνοιξη."
FULL_WIDTH = {ord(c): ord(c) - 0x20 + 0xFF00 for c in string.ascii_letters}
BOLD = {ord(c): 0x1D400 + n for n, c in enumerate(string.ascii_uppercase + string.ascii_lowercase)}
CYRILLIC = str.maketrans("aceijkopsxyABCEHIKMOPTX", "асеіјкорѕхуАВСЕНІКМОРТХ")
GREEK_LETTERS = str.maketrans("aevopx", "αενορχ")
TAGS = {n: 0xE0000 + n for n in range(0x20, 0x7F)}


def selectors(text: str) -> str:
    return "".join(chr(0xFE00 + b if b < 16 else 0xE0100 + b - 16) for b in text.encode())


ORDINARY = {
    "Chinese punctuation": "他说：“好的！”（真的吗？）《书名》……——１２３％，"
    "Ａ股、ＧＤＰ、ＣＥＯ。①②③　Ⅰ型",
    "emoji": "👩🏽\u200d🚀👨\u200d👩\u200d👧\u200d👦 ❤\ufe0f\u200d🔥"
    " ✈\ufe0f 1\ufe0f⃣ #\ufe0f⃣ ©\ufe0f ‼\ufe0f ℹ\ufe0f 🇺🇸🇨🇳"
    " 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    " 🏳\ufe0f\u200d🌈 🙂\u200d↔\ufe0f 🅰 Ⓜ\ufe0f",
    "mathematics": "∀ε>0 ∃δ: |𝑥−𝑎|<δ, ℝⁿ→ℝᵐ, 𝐀𝐱=𝐛, nᵗʰ, x₁², 2sinαcosα, ρgh, μm, kΩ, Δt, λx.x, ℓ",
    "biology": "TNFα, IFNγ, NFκB, PPARγ, β-catenin, α-helix and µg per day",
    "phonetics": "/ˈfəʊnɪks/ [pʰaʊ] café naïve Łódź İstanbul Ẹ̀kọ́ nǐ hǎo Việt Nam",
    "Russian": RUSSIAN,
    "Russian with Latin words": "Скачайте PDFку и откройте Windows-программу: "
    "SQLзапрос, CEO, сок, VPN.",
    "English with Russian words": "The Russian word «сок» is juice and «что» is what; "
    "кот is a cat.",
    "Greek": GREEK,
    "Persian": "می\u200cخواهم کتاب\u200cها را ببینم و خانهٔ\u200cشان را",
    "Hindi": "क्\u200dष और र्\u200dय",
    "Thai": "ภาษา\u200bไทย",
    "Markdown": "# Title\n\n| a | b |\n|---|:--|\n| 1 | 2 |\n\n"
    "- [x] **done** `code` ~~no~~\n\n> quote\n",
    "code": "def f(x):\n\treturn {k: v for k, v in x.items() if k != 0xDEADBEEF}  # a_b-c/d+e\r\n",
    "addresses": "https://zh.wikipedia.org/wiki/" + quote("人工智能安全研究与治理") + " "
    "https://x.org/?q=how%20to%20bake%20bread%20at%20home%20with%20the%20kids%20now",
    "hashes": "d41d8cd98f00b204e9800998ecf8427e "
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 "
    "123e4567-e89b-12d3-a456-426614174000 00:1A:2B:3C:4D:5E #ff8800 "
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP"
    "+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "a token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "an image": "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "a drawing": "data:image/svg+xml;base64,"
    + base64.b64encode(
        b'<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24">'
        b'<path fill="none" d="M12 2L2 7l10 5 10-5-10-5z"/></svg>'
    ).decode(),
    "numbers": "20 65 68 6f 21 32 43 54 65 76 20 31 42 53 64 75 20 12 13 14 15 16",
    "words in lines": "apple\nbanana\ncherry\ngrape\nlemon\norange\npeach\nplum\nquince\n",
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_text_stays_as_it_is(kind):
    assert undisguise(ORDINARY[kind]) == Undisguised(ORDINARY[kind])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_exemplar_is_taken_for_a_disguise(lang):
    texts = [row[field] for row in load(f"text_{lang}") for field in ("prompt", "safe", "unsafe")]
    texts += load(f"benign_{lang}")["answer"]
    for text in texts:
        assert undisguise(text) == Undisguised(text)


@given(st.text(string.printable, max_size=300).map(lambda text: text.replace("%", "")))
def test_ascii_never_changes(text):
    assert undisguise(text).text == "".join(c for c in text if c != "\x7f")


@given(
    st.lists(st.sampled_from(RUSSIAN.split() + GREEK.split() + CHINESE.split("，")), max_size=40)
)
def test_other_scripts_never_change(words):
    text = " ".join(words)
    assert undisguise(text) == Undisguised(text)


@given(st.binary(max_size=300))
def test_random_bytes_decode_to_nothing(data):
    for text in (base64.b64encode(data).decode(), data.hex(), quote(data)):
        assert undisguise(f"Key: {text}").decoded == ()


@given(st.text(max_size=200))
def test_undone_once_is_undone(text):
    plain = undisguise(text)
    assert undisguise(plain.text).text == plain.text
    assert len(plain.text) <= len(text)


class TestInvisible:
    @pytest.mark.parametrize("text", [ENGLISH, CHINESE])
    @pytest.mark.parametrize(
        "hidden", "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202e\u2066\x00\ufe0f\U000e0041"
    )
    def test_characters_between_letters_go(self, text, hidden):
        found = undisguise(hidden.join(text))
        assert found == Undisguised(text, flags=("invisible_characters",))

    def test_more_than_one_joiner_goes_even_where_one_is_spelling(self):
        assert undisguise("می\u200c\u200b\u200cخواهم").text == "میخواهم"
        assert undisguise("👩\u200d\u200d🚀").text == "👩🚀"

    @pytest.mark.parametrize("hide", [lambda text: text.translate(TAGS), selectors])
    def test_what_they_spell_out_is_read(self, hide):
        found = undisguise(f"Nothing here 😊{hide(ENGLISH)}. Bye.")
        assert found.text.replace("\ufe0f", "") == "Nothing here 😊. Bye."
        assert found.decoded == (ENGLISH,)
        assert found.flags == ("invisible_characters", "decoded")


class TestLetters:
    @pytest.mark.parametrize("table", [FULL_WIDTH, BOLD, CYRILLIC, GREEK_LETTERS])
    def test_disguised_letters_are_read(self, table):
        disguised = ENGLISH.translate(table)
        assert disguised != ENGLISH
        assert undisguise(disguised) == Undisguised(ENGLISH, flags=("homoglyphs",))

    @pytest.mark.parametrize(
        ("disguised", "plain"),
        [
            ("ⓗⓞⓦ 🅷🅾🆆 🄷🄾🅆 ⒣⒪⒲", "how HOW HOW how"),
            ("ʰᵒʷ ᴛᴏ ʙᴀᴋᴇ", "how to bake"),
            ("how to b𝐚ke", "how to bake"),
            ("ＨＯＷＥＶＥＲ", "HOWEVER"),
            ("Ꮋow tο bаkе", "How to bake"),
            ("用bаke做", "用bake做"),
            ("a сор in the pаrk", "a cop in the park"),
        ],
    )
    def test_words(self, disguised, plain):
        assert undisguise(disguised) == Undisguised(plain, flags=("homoglyphs",))

    def test_genuine_words_keep_those_beside_them(self):
        assert undisguise("a pаrk; сок, что это").text == "a park; сок, что это"


def lines(data: bytes, width: int) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(text[n : n + width] for n in range(0, len(text), width))


ENCODINGS = {
    "Base64": lambda data: base64.b64encode(data).decode(),
    "url-safe": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "in lines": lambda data: lines(data, 60),
    "in short lines": lambda data: lines(data, 12),
    "quoted": lambda data: "> " + lines(data, 40).replace("\n", "\n> "),
    "with letters before it": lambda data: "/b/" + base64.b64encode(data).decode(),
    "twice": lambda data: base64.b64encode(base64.b64encode(data)).decode(),
    "hexadecimal": bytes.hex,
    "hexadecimal in pairs": lambda data: data.hex(" "),
    "escaped": lambda data: "".join(f"\\x{byte:02x}" for byte in data),
    "a list of bytes": lambda data: ", ".join(f"0x{byte:02X}" for byte in data),
    "hexadecimal in Base64": lambda data: base64.b64encode(data.hex().encode()).decode(),
    "percent": lambda data: "".join(f"%{byte:02X}" for byte in data),
}


class TestEncoded:
    @pytest.mark.parametrize("text", [ENGLISH, CHINESE])
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_encoded_text_is_read(self, text, encoding):
        answer = f"Sure, here it is:\n{ENCODINGS[encoding](text.encode())}\n\nEnjoy your day."
        assert undisguise(answer) == Undisguised(answer, (text,), ("decoded",))

    def test_an_address_that_escapes_letters_hides_something(self):
        escaped = ENCODINGS["percent"](ENGLISH.encode())
        (found,) = undisguise(f"https://example.org/?q={escaped}").decoded
        assert ENGLISH in found

    def test_rot13(self):
        answer = f"Here is what you asked for.\n{codecs.encode(ENGLISH, 'rot13')}\nBye."
        (found,) = undisguise(answer).decoded
        assert ENGLISH in found

    def test_hidden_characters_do_not_hide_an_encoding(self):
        disguised = "\u200b".join(base64.b64encode(ENGLISH.encode()).decode())
        assert undisguise(disguised).decoded == (ENGLISH,)

    def test_what_was_decoded_is_undisguised_too(self):
        disguised = base64.b64encode("\u200b".join(ENGLISH).translate(CYRILLIC).encode()).decode()
        assert undisguise(disguised).decoded == (ENGLISH,)

    def test_it_is_bounded_and_many_pieces_do_not_hide_the_last(self):
        pieces = [f"{ENGLISH} This is number {n}." for n in range(30)]
        found = undisguise(" ".join(base64.b64encode(p.encode()).decode() for p in pieces)).decoded
        assert len(found) == MAX_PIECES
        assert "\n".join(found) == "\n".join(pieces)
        long = undisguise(base64.b64encode(ENGLISH.encode() * 1000).decode()).decoded
        assert sum(map(len, long)) == MAX_DECODED


SIZE = 50_000
UNITS = {
    "letters": "a",
    "words": "hello ",
    "invisible": "\u200b",
    "invisible between letters": "a\u200b",
    "tags": "\U000e0041",
    "joined emoji": "👩\u200d",
    "look-alikes in one word": "aа",
    "look-alikes in words": "aаb ",
    "styled": "𝐨",
    "half styled": "a𝐨bcd ",
    "Base64 lines": "abcd\n",
    "spaced lines": "abcd\n        ab\n",
    "padding": "abcd=",
    "hexadecimal": "4",
    "pairs": "48 ",
    "escapes": "%41",
    "percent signs": "%",
    "rotated": "gur. ",
    "stops": ".",
    "line ends": "\r\n",
    "a bit of everything": "".join(random.Random(1).choices("aа\u200b𝐨ρ =%4\n.", k=1000)),
    "real Base64": base64.b64encode(random.Random(2).randbytes(30_000)).decode(),
    "nested Base64": base64.b64encode(base64.b64encode(ENGLISH.encode() * 200)).decode(),
}


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear(unit):
    def seconds(size: int) -> float:
        text = (UNITS[unit] * (size // len(UNITS[unit]) + 1))[:size]
        started = time.process_time()
        undisguise(text)
        return time.process_time() - started

    # Four times the text takes four times as long, sixteen times if the time were quadratic.
    seconds(SIZE)
    assert seconds(4 * SIZE) < 9 * max(min(seconds(SIZE), seconds(SIZE)), 0.01) + 0.2


def test_an_acronym_keeps_its_ending_and_a_word_in_capitals_is_plain():
    assert undisguise("Откройте PDFа и USBа").text == "Откройте PDFа и USBа"
    assert undisguise("Flights to LUЅАКА are late").text == "Flights to LUSAKA are late"
