"""Takes the disguise off an answer before it is judged.

Hidden characters, letters that only look Latin and encoded text can all be read by a person, or
by a program, and hide what they say from a judge. What is undone here is undone for certain:
ordinary text, whatever its language, comes back as it was.
"""

import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

__all__ = ["Undisguised", "undisguise"]

#: Pieces of decoded text at most; what is left over is joined to the last one.
MAX_PIECES = 8
#: Characters of decoded text at most: they are judged beside the answer.
MAX_DECODED = 20_000
#: Encodings inside encodings that are opened.
MAX_DEPTH = 2
#: Characters that decoded text must have; ideographs say as much in half of them.
MIN_TEXT, MIN_IDEOGRAPHS = 16, 8
#: Words that decoded text must have, and distinct common words that show it to be ROT13.
MIN_WORDS = 4


@dataclass(frozen=True)
class Undisguised:
    """An answer without its disguise.

    Attributes:
        text: The answer to judge in its place; the same text when nothing was disguised.
        decoded: What encoded parts of the answer say, `MAX_PIECES` texts and `MAX_DECODED`
            characters at most.
        flags: What was found: "invisible_characters", "homoglyphs", "decoded".
    """

    text: str
    decoded: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def undisguise(text: str) -> Undisguised:
    r"""Undo what hides the words of a text; the time is linear in its length.

    >>> undisguise("h\u200bow").text
    'how'
    >>> undisguise("SSBoYXZlIG5vdGhpbmcgdG8gaGlkZS4=").decoded
    ('I have nothing to hide.',)
    >>> undisguise("你好，world 👩\u200d🚀").flags
    ()
    """
    visible, hidden = _without_invisible(text)
    plain = _plain_letters(visible)
    decoded = _bounded([*hidden, *_decoded(plain, MAX_DEPTH)])
    found = {
        "invisible_characters": visible != text,
        "homoglyphs": plain != visible,
        "decoded": bool(decoded),
    }
    return Undisguised(plain, decoded, tuple(flag for flag, holds in found.items() if holds))


def _plain(text: str) -> str:
    return _plain_letters(_without_invisible(text)[0])


def _bounded(found: list[str]) -> tuple[str, ...]:
    pieces: list[str] = []
    left = MAX_DECODED
    for piece in dict.fromkeys(found):
        if left <= 0:
            break
        if len(pieces) < MAX_PIECES:
            pieces.append(piece[:left])
        else:
            pieces[-1] += "\n" + piece[: left - 1]
        left -= len(piece) + 1
    return tuple(pieces)


# Invisible characters -------------------------------------------------------------------------

#: Unicode's Default_Ignorable_Code_Point, annotation marks, and control characters that are no
#: space.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
#: Scripts in which joiners, or breaks without width, are spelling: from Arabic to Mongolian.
_JOINING = re.compile("[\u0600-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc]")
_JOINERS = frozenset("\u200b\u200c\u200d\u180b\u180c\u180d\u180e\u180f")
_TAGS = range(0xE0020, 0xE007F)
#: The flags of England, Scotland and Wales: tag characters after a black flag.
_TAG_FLAGS = {
    "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
}


def _without_invisible(text: str) -> tuple[str, list[str]]:
    """Return the text without invisible characters, and what these spell out themselves."""
    removed: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if _is_spelling(match):
            return match[0]
        removed.append(match[0])
        return ""

    visible = _INVISIBLE.sub(replace, text)
    return visible, list(_spelt_out("".join(removed)))


def _is_spelling(match: re.Match[str]) -> bool:
    """Say whether invisible characters belong to an emoji, or to words of a joining script."""
    text, run = match.string, match[0]
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if not before:
        return False
    if run in ("\ufe0e", "\ufe0f"):
        return _is_symbol(before) or after == "\u20e3"
    if run in ("\u200d", "\ufe0f\u200d") and _is_symbol(before):
        return _is_symbol(after)
    return (run in _JOINERS and bool(_JOINING.match(before))) or (
        before == "\U0001f3f4" and run in _TAG_FLAGS
    )


def _is_symbol(character: str) -> bool:
    if character.isascii():
        return False
    return character in "ℹ‼⁉〰" or unicodedata.category(character).startswith("S")


def _spelt_out(removed: str) -> Iterator[str]:
    """Yield the texts that tag characters (ASCII) and variation selectors (bytes) encode."""
    tags, selected = bytearray(), bytearray()
    for code in map(ord, removed):
        if code in _TAGS:
            tags.append(code - _TAGS.start + 0x20)
        elif 0xFE00 <= code <= 0xFE0F:
            selected.append(code - 0xFE00)
        elif 0xE0100 <= code <= 0xE01EF:
            selected.append(code - 0xE0100 + 16)
    for found in map(_printable, map(bytes, (tags, selected))):
        if found and _is_language(found):
            yield found


# Letters that pose as Latin -------------------------------------------------------------------


def _compatible(*ranges: tuple[int, int]) -> dict[int, str]:
    """Return the characters that Unicode calls a style of one ASCII letter."""
    table = {}
    for first, last in ranges:
        for code in range(first, last + 1):
            plain = unicodedata.normalize("NFKC", chr(code)).strip("()")
            if len(plain) == 1 and plain.isascii() and plain.isalpha():
                table[code] = plain
    return table


def _class(table: Mapping[int, object]) -> str:
    """Return the letters of a table for a character class, as ranges: single ones are slow."""
    firsts = [code for code in sorted(table) if code - 1 not in table]
    lasts = [code for code in sorted(table) if code + 1 not in table]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(firsts, lasts, strict=True))


_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Full-width, mathematical and enclosed letters; those on black ground have no decomposition.
_STYLED = _compatible(
    (0xFF21, 0xFF5A),
    (0x1D400, 0x1D7FF),
    (0x2102, 0x2138),
    (0x213C, 0x2149),
    (0x249C, 0x24E9),
    (0x1F110, 0x1F129),
) | {first + n: c for first in (0x1F130, 0x1F150, 0x1F170) for n, c in enumerate(_CAPITALS)}
#: Raised, lowered and small capital letters: in ordinary text one or two at a time.
_SMALL = _compatible((0x2B0, 0x2B8), (0x1D2C, 0x1D6A), (0x2071, 0x209C)) | {
    ord(a): b for a, b in zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True)
}
_STYLES = _STYLED | _SMALL
_STYLED_LETTER = re.compile(f"[{_class(_STYLES)}]")
_STYLED_WORD = re.compile(f"[{_class(_STYLES)}]{{3,}}+")
_HALF_STYLED_WORD = re.compile(f"[A-Za-z{_class(_STYLED)}]{{4,}}+")

#: Letters of other scripts that look Latin, as Unicode's confusables (UTS #39) have it, and к,
#: which passes for k.
_ALIKE = str.maketrans(
    "аЬсԁеһіӏјкоԛргѕѵԝхуүАВСЕԌНІӀЈКМОРЅТѴԜХУҮ"  # Cyrillic
    "οϲιϳΑΒϹΕΗͿΙΚΜϺΝΟΡΤΧΥΖ"  # Greek
    "գհոռսօցքՕՏՍ"  # Armenian
    "ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᎩᏃ"  # Cherokee
    "ꓮꓐꓚꓓꓰꓝꓖꓧꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ"  # Lisu
    "ⅰⅴⅹⅼⅽⅾⅿ",  # Roman numerals
    "abcdehiljkoqprsvwxyyABCEGHIIJKMOPSTVWXYY"
    "ocijABCEHJIKMMNOPTXYZ"
    "ghnnuogfOSU"
    "ABCDEGHJKLMPRSTVWYZ"
    "ABCDEFGHJKLMNOPRSTUVWXYZ"
    "ivxlcdm",
)
#: Greek letters that look Latin and stand beside Latin ones in formulas ("ρgh", "TNFα").
_IN_FORMULAS = str.maketrans("αεγηκνρστυχω", "aeynkvpotuxw")
_ALIKES = _ALIKE | _IN_FORMULAS
_LATIN = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ"
_OTHER = "\u0370-\u052f\u0531-\u0587\u13a0-\u13fd\u1f00-\u1fff\u2170-\u217f\ua4d0-\ua4f7"
_OTHER_LETTER = re.compile(f"[{_OTHER}]")
_WORD = re.compile(f"[{_LATIN}{_OTHER}]+")
#: Words without a letter that could be of the other script only.
_ALIKE_WORD = re.compile(f"[{_LATIN}{_class(_ALIKES)}]+")
_OTHER_WORD = re.compile(f"[{_OTHER}]+")
_CERTAIN = re.compile(f"[{_class(_ALIKE)}]")
_INSIDE_WORD = re.compile(f"[a-z][{_class(_IN_FORMULAS)}]+[a-z]")
_FORMULA = re.compile("sin|cos|tan|cot|sec|csc|log|ln|exp|lim")
#: A Latin acronym with the ending of another language ("PDFа"), which is in small letters.
_INFLECTED = re.compile("[A-Z]{2,}[^A-Za-z]+")


def _plain_letters(text: str) -> str:
    return text if text.isascii() else _without_lookalikes(_without_styles(text))


def _without_styles(text: str) -> str:
    """Write styled letters plainly, in a text that has whole words of them.

    A single one is mathematics, a footnote or a label. Full-width acronyms ("ＧＤＰ") are
    Chinese typesetting.
    """
    if not _STYLED_LETTER.search(text):
        return text
    whole = {word.translate(_STYLES) for word in _STYLED_WORD.findall(text)}
    half = {word for word in _HALF_STYLED_WORD.findall(text) if not word.isascii()}
    disguised = any(not word.isupper() or len(word) >= 6 for word in whole) or any(
        any(map(str.isascii, word)) for word in half
    )
    return text.translate(_STYLES) if disguised else text


def _without_lookalikes(text: str) -> str:
    """Write words that mix Latin letters with look-alikes in Latin.

    What could be a formula follows when the text has mixed words that cannot; and so do words of
    look-alikes alone, unless another word must be of their script: Russian or Greek beside
    English stays as it is.
    """
    if not _OTHER_LETTER.search(text):
        return text
    words = {word for word in set(_WORD.findall(text)) if _OTHER_LETTER.search(word)}
    foreign = {word for word in words if _OTHER_WORD.fullmatch(word)}
    alike = {word for word in words if _ALIKE_WORD.fullmatch(word)}
    disguised = {word for word in alike - foreign if _is_mixed(word)}
    if not disguised:
        return text
    disguised |= {w for w in alike - foreign if w.islower() and not _FORMULA.search(w)}
    if not any(len(word) > 1 for word in foreign - alike):
        disguised |= {word for word in alike & foreign if _CERTAIN.search(word)}
    plain = {word: word.translate(_ALIKES) for word in disguised}
    return _WORD.sub(lambda match: plain.get(match[0], match[0]), text)


def _is_mixed(word: str) -> bool:
    """Say whether look-alikes make a Latin word, and are no formula's and no ending's."""
    if _INFLECTED.fullmatch(word) and not word.isupper():
        return False
    if _CERTAIN.search(word):
        return True
    return bool(_INSIDE_WORD.search(word)) and not _FORMULA.search(word)


# Encoded text ---------------------------------------------------------------------------------

#: Base64, plain or url-safe, perhaps wrapped over lines that hold nothing else.
_BASE64 = re.compile(
    r"[A-Za-z0-9+/_-]{4,}+(?:\r?\n[ \t>]{0,8}+[A-Za-z0-9+/_-]++(?=[ \t]{0,8}(?:\r?\n|\Z)|=))*+"
)
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/_-]{22,}+")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\s,;:-]{0,2}+){16,}+")
_HEX_PAIR = re.compile("[0-9A-Fa-f]{2}")
_TOKEN = re.compile(r"\S+")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
#: Letters and digits that no address needs to escape.
_NEEDLESS = re.compile("%(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？\n]*")
_COMMON = frozenset(
    {"the", "and", "you", "that", "this", "with", "for", "are", "from", "your"}
    | {"have", "will", "can", "not", "what", "when", "then", "into"}
)
_COMMON_ROT13 = frozenset(codecs.encode(word, "rot13") for word in _COMMON)

_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_LETTERS = re.compile(r"[^\W\d_]+")
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def _decoded(text: str, depth: int) -> Iterator[str]:
    """Yield the readable texts that are encoded in a text, and in these."""
    for found in map(_plain, _candidates(text)):
        if _is_language(found):
            yield found
        if depth > 1:
            yield from _decoded(found, depth - 1)


def _candidates(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        lines = [line.strip(" \t\r>") for line in match[0].split("\n")]
        joined = _from_base64("".join(lines))
        if joined:
            yield joined
        elif len(lines) > 1:
            yield from filter(None, map(_from_base64, _BASE64_LINE.findall(match[0])))
    for match in _HEX.finditer(text):
        found = _printable(bytes.fromhex("".join(_HEX_PAIR.findall(match[0]))))
        if found:
            yield found
    if "%" in text:
        yield from _from_percent(text)
    yield from _from_rot13(text)


def _from_base64(run: str) -> str | None:
    """Decode a run from the first of its characters on that gives text."""
    if len(run) < 22:
        return None
    run = run.replace("-", "+").replace("_", "/")
    for start in range(4):
        whole = run[start : len(run) - (len(run) - start) % 4]
        rest = run[start + len(whole) :]
        padded = rest.ljust(4, "=") if len(rest) > 1 else ""
        found = _printable(binascii.a2b_base64(whole + padded))
        if found:
            return found
    return None


def _from_percent(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token.count("%") < MIN_IDEOGRAPHS or len(_ESCAPE.findall(token)) < MIN_IDEOGRAPHS:
            continue
        if "://" not in token or len(_NEEDLESS.findall(token)) >= MIN_IDEOGRAPHS:
            found = unquote_plus(token, errors="replace")
            if not _UNREADABLE.search(found):
                yield found


def _from_rot13(text: str) -> Iterator[str]:
    seen: set[str] = set()
    kept = []
    for match in _SENTENCE.finditer(text):
        words = set(_LETTERS.findall(match[0].lower()))
        if len(words & _COMMON_ROT13) >= len(words & _COMMON):
            kept.append(match[0])
            seen |= words & _COMMON_ROT13
    if len(seen) >= MIN_WORDS:
        yield codecs.encode("".join(kept), "rot13").strip()


def _printable(data: bytes) -> str | None:
    """Return bytes as text when nine characters in ten of it can be read."""
    text = data.decode("utf-8", "replace")
    kept = _UNREADABLE.sub("", text)
    return kept.strip() if text and len(kept) >= 0.9 * len(text) else None


def _is_language(text: str) -> bool:
    """Say whether a text is language and no key, number, markup or program."""
    ideographs = len(_IDEOGRAPH.findall(text))
    letters = _LETTERS.findall(text)
    total = sum(map(len, letters))
    if ideographs >= MIN_IDEOGRAPHS and total >= 0.6 * len(text):
        return True
    spaces = sum(map(text.count, " \n"))
    return (
        len(text) >= MIN_TEXT
        and len(letters) >= MIN_WORDS
        and spaces >= len(letters) // 2
        and total + spaces >= 0.75 * len(text)
    )
