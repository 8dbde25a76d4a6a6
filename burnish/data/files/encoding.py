"""The encoding of a text file: UTF-8, UTF-16 or UTF-32 by their marks, else what the letters of the text show."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from burnish.data.files.guessing import Guess, guesses
from burnish.data.files.opening import MOST_LINE_BYTES, open_binary
from burnish.errors import DataError

HEAD_BYTES = 8192
# UTF-32 before UTF-16, whose mark is the beginning of that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", ""),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# Other kinds of files, by their first bytes.
_OTHER_KINDS = (
    (b"PAR1", "a parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive (or an Excel or Word file)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"%PDF", "a PDF"),
)
_JAPANESE_SHIFTS = (b"\x1b$B", b"\x1b$@")
_BLOCK_BYTES = 1 << 20
_FEWEST_BYTES = 5
"""Bytes beyond ASCII in which an encoding may show."""
_SAMPLE_LINES = 200
"""Lines beyond ASCII from which an encoding other than UTF-8 is inferred."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to decode a file."""

    name: str
    """Of Python's codec."""
    mark: int = 0
    """Bytes of the byte order mark, which are skipped."""
    note: str = ""
    """What was guessed, as a phrase after the name of the file; empty for UTF-8."""
    old_line_ends: bool = False
    """Whether lines end in a lone carriage return."""

    @property
    def is_plain(self) -> bool:
        """Whether the lines can be taken as they are."""
        return self.name == "utf-8" and not self.old_line_ends


def find_encoding(path: Path) -> Encoding:
    """The encoding of a text file.

    Raises:
        DataError: the file cannot be opened, is empty or is not text.
    """
    try:
        state = path.stat()
    except OSError:
        return _find_encoding(path)
    return _remembered(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _remembered(path: Path, changed: int, size: int) -> Encoding:
    return _find_encoding(path)


def _find_encoding(path: Path) -> Encoding:
    with open_binary(path) as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise DataError(f"`{path}` is empty", "It has 0 bytes.", "Add at least two rows")
        _refuse_other_kinds(path, head)
        old_line_ends = b"\r" in head and b"\n" not in head
        for mark, name, called in _MARKS:
            if head.startswith(mark):
                note = f"is {called} text" if called else ""
                return Encoding(name, len(mark), note, old_line_ends and name == "utf-8")
        if any(shift in head for shift in _JAPANESE_SHIFTS):
            return Encoding("iso2022_jp", 0, "is read as ISO-2022-JP, by its shifts between character sets")
        if name := _unmarked_utf16(head):
            return Encoding(name, 0, "seems to be UTF-16 text without a byte order mark")
        if b"\0" in head:
            line = head.count(b"\n", 0, head.index(b"\0")) + 1
            raise DataError(
                f"`{path}` is not a text file: there is a NUL byte in line {line}",
                "It contains binary data, or text in an encoding that is not supported.",
                "Save it as UTF-8 text",
            )
    with open_binary(path) as file:
        odd = _lines_beyond_utf8(file)
    if odd and (example := western_example(odd)):
        note = f"is not UTF-8 and is read as Windows-1252 (for example `{example}`)"
        return Encoding("cp1252", 0, note, old_line_ends)
    if odd:
        clear, possible = guesses(odd)
        beyond = sum(byte > 0x7F for byte in odd)
        if clear is None and possible and b"\n" in odd and beyond >= _FEWEST_BYTES:  # one line may just be broken
            raise _doubtful(path, possible)
        if clear is not None:
            note = f"is not UTF-8 and is read as {clear.name} (for example `{clear.example}`)"
            return Encoding(clear.name, 0, note, old_line_ends)
    return Encoding("utf-8", old_line_ends=old_line_ends)


def _doubtful(path: Path, possible: Sequence[Guess]) -> DataError:
    """The error for a text whose encoding is not clear."""
    read = "; ".join(f"as {one.name} it would be `{one.example}`" for one in possible)
    return DataError(
        f"`{path}` is not UTF-8, and its encoding is not clear from the text",
        f"{read[:1].upper()}{read[1:]}.",
        f"Save it as UTF-8, with the encoding that reads right: `iconv -f {possible[0].of_iconv} -t utf-8 {path} > "
        f"{path.stem}-utf8{path.suffix}`",
    )


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    for start, kind in _OTHER_KINDS:
        if head.startswith(start):
            raise DataError(
                f"`{path}` is {kind}, although its name does not say so",
                "The suffix of the name determines how a file is parsed.",
                "Rename it, or save it as UTF-8 text",
            )


def _unmarked_utf16(head: bytes) -> str:
    """The codec of UTF-16 text without a mark: nearly every second byte of ASCII text is zero. Else empty."""
    sample = head[: len(head) // 2 * 2]
    halves = {"utf-16-be": sample[::2], "utf-16-le": sample[1::2]}
    shares = {name: half.count(0) / len(half) for name, half in halves.items() if half}
    for name, share in shares.items():
        if share > 0.6 and sum(shares.values()) - share < 0.05:
            return name
    return ""


def _lines_beyond_utf8(file: BinaryIO) -> bytes:
    """The first lines that are not UTF-8; none if a line beyond ASCII is, because then the others are broken lines."""
    odd: list[bytes] = []
    while block := file.read(_BLOCK_BYTES):
        if block.isascii():
            continue
        for line in (block + file.readline(MOST_LINE_BYTES)).split(b"\n"):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                odd.append(line)
            else:
                return b""
            if len(odd) == _SAMPLE_LINES:
                return b"\n".join(odd)
    return b"\n".join(odd)


_WORD = re.compile(r"[^\W\d_]+")
_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüŒœŠšŸ"
"""Letters of western languages; without those that Turkish has other letters for in its own encoding."""
_HUNGARIAN, _NOT_HUNGARIAN = "õû", "ãàèêçåøæäß"
"""Letters which, without the others, are those of Hungarian (ő and ű) in its own encoding."""
_INSIDE = "’´·–—\xad\xa0"
"""Marks that may be between two letters."""
_BESIDE = _INSIDE + "‘“”„‚‹›«»…•€£§°¿¡©®™²³¹ªº½¼¾±×÷¢¥µ†‡¶"
"""Marks that may be beside letters, but not between them."""
_LEAST_PLAUSIBLE = 0.98


def western_example(sample: bytes) -> str:
    """A word that shows that bytes are Windows-1252 text, or empty if they are probably not.

    In western languages at least a third of the letters of a word are ASCII, a capital does not follow a small letter,
    and signs are not between letters. Text in other single-byte encodings breaks these rules all the time.
    """
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:  # five bytes have no meaning in it
        return ""
    if all(letter in text for letter in _HUNGARIAN) and not any(letter in text for letter in _NOT_HUNGARIAN):
        return ""
    example, plausible, number = "", 0, 0
    words = {place: match for match in _WORD.finditer(text) for place in range(*match.span())}
    for place, character in enumerate(text):
        if character.isascii():
            continue
        number += 1
        word = words.get(place)
        if word is not None and character in _LETTERS:
            if _is_western(word[0], place - word.start()):
                plausible += 1
                example = example or word[0]
        elif character in _BESIDE:
            is_between = text[place - 1 : place].isalpha() and text[place + 1 : place + 2].isalpha()
            plausible += not is_between or character in _INSIDE
            example = example or text[max(0, place - 8) : place + 8].strip().replace("\n", " ")
    return example if plausible >= _LEAST_PLAUSIBLE * number else ""


def _is_western(word: str, place: int) -> bool:
    beyond = sum(not letter.isascii() for letter in word)
    is_mixed = len(word) <= 2 or 3 * beyond <= 2 * len(word)
    return is_mixed and not (place > 0 and word[place].isupper() and word[place - 1].islower())
