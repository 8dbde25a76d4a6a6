"""Encodings other than UTF-8: by their marks, or inferred from the text and named, never against the evidence."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import json
import lzma

import pyarrow
import pytest

from burnish.data.files.encoding import find_encoding
from burnish.data.files.guessing import guesses
from burnish.data.files.lines import text_lines
from burnish.data.files.readers import read_rows
from burnish.data.rows.dataset import load_records
from burnish.data.rows.row import Rejected
from burnish.errors import DataError
from burnish.recipe.schema import DataSection

ROWS = [{"prompt": "Schöne Grüße, à bientôt", "completion": "“naïve” – 5 €"}, {"prompt": "ok", "completion": "ok"}]
CSV = "prompt,completion\n" + "".join(f'"{row["prompt"]}","{row["completion"]}"\n' for row in ROWS)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
ENCODINGS = {
    "utf-8": (CSV.encode(), ""),
    "utf-8 with mark": (codecs.BOM_UTF8 + CSV.encode(), ""),
    "utf-16 little": (codecs.BOM_UTF16_LE + CSV.encode("utf-16-le"), "is UTF-16 text"),
    "utf-16 big": (codecs.BOM_UTF16_BE + CSV.encode("utf-16-be"), "is UTF-16 text"),
    "utf-16 without mark": (CSV.encode("utf-16-le"), "seems to be UTF-16 text without a byte order mark"),
    "utf-32": (codecs.BOM_UTF32_LE + CSV.encode("utf-32-le"), "is UTF-32 text"),
    "cp1252": (CSV.encode("cp1252"), "is not UTF-8 and is read as Windows-1252 (for example `Schöne`)"),
}


@pytest.mark.parametrize("windows", [False, True], ids=["unix", "windows"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_a_table_is_read_in_each_encoding_with_a_note(write, name, windows):
    content, note = ENCODINGS[name]
    if windows:
        mark = find_encoding(write("b.csv", content))
        text = content[mark.mark :].decode(mark.name).replace("\n", "\r\n")
        content = content[: mark.mark] + text.encode(mark.name)
    rows = list(read_rows(write("a.csv", content)))
    assert [row.values for row in rows] == ROWS
    assert [row.line for row in rows] == [2, 3]
    assert {row.note for row in rows} == {f"`a.csv` {note}." if note else ""}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".txt", ".conll"])
@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_every_kind_of_text_is_read_in_each_encoding(write, suffix, encoding):
    text = {".jsonl": LINES, ".json": json.dumps(ROWS, ensure_ascii=False)}.get(suffix, "Grüße\tO\nà\tO\n")
    plain, other = write(f"a{suffix}", text), write(f"b{suffix}", text.encode(encoding))
    assert [row.values for row in read_rows(other)] == [row.values for row in read_rows(plain)]
    note = next(iter(read_rows(other))).note  # type: ignore[union-attr]
    assert ("UTF-16" if encoding == "utf-16" else "Windows-1252") in note


def test_old_line_ends_alone_end_lines(write):
    rows = list(read_rows(write("a.csv", "prompt,completion\ra,b\rc,d\r")))
    assert [tuple(row.values.values()) for row in rows] == [("a", "b"), ("c", "d")]


def test_the_note_reaches_the_user_for_training_and_validation_data(write):
    write("train.csv", CSV)
    write("val.csv", CSV.replace("ok", "yes").encode("utf-16"))
    notes = load_records(DataSection(path=".")).shape.notes
    assert notes == ("Data in `.`: train `train.csv`, validation `val.csv`.", "`val.csv` is UTF-16 text.")


OTHERS = {
    "Russian in cp1251": "Привет, мир, это не латиница".encode("cp1251"),
    "Polish in cp1250": "Zażółć gęślą jaźń, proszę pana".encode("cp1250"),
    "Czech in cp1250": "Příliš žluťoučký kůň úpěl ďábelské ódy".encode("cp1250"),
    "Greek in cp1253": "Καλημέρα κόσμε".encode("cp1253"),
    "Turkish in cp1254": "Şeker bayramı değil mi, ığdır".encode("cp1254"),
    "French in mac_roman": "café déjà vu à l’école".encode("mac_roman"),
    "German in cp850": "schöne Grüße über München".encode("cp850"),
    "Japanese in shift_jis": "こんにちは世界".encode("shift_jis"),
    "Chinese in GBK": "你好，世界，今天天气很好".encode("gbk"),
    "noise in latin1": bytes(range(128, 256)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_text_in_another_encoding_is_never_read_as_something_else(write, name):
    path = write("a.txt", b"first line\n" + OTHERS[name] + b"\n")
    with pytest.raises(DataError, match="a.txt:2: byte 0x.. at position .* is not UTF-8"):
        list(text_lines(path))
    longer = write("b.txt", (OTHERS[name] + b"\n") * 5)
    with contextlib.suppress(DataError):
        assert {line for _, line in text_lines(longer)} == {OTHERS[name].decode(name.split(" in ")[1]) + "\n"}


LANGUAGES = [
    "Größere Übungen für Äpfel, ß",
    "Où est l’été ? À côté, ça va : « déjà »",
    "¿Qué pasó, niño? ¡Añádelo!",
    "São Paulo, coração, às três",
    "Smörgåsbord på Åland, ærlig øl",
    "Perché no? È così, città",
    "Het coöperatieve café – 20 °C",
]


@pytest.mark.parametrize("text", LANGUAGES)
def test_western_languages_are_read_as_windows_1252(write, text):
    assert [line for _, line in text_lines(write("a.txt", text.encode("cp1252")))] == [text]


def test_one_broken_line_among_good_ones_is_broken(write):
    path = write("a.jsonl", '{"text": "é"}\n'.encode() + '{"text": "café"}\n'.encode("cp1252"))
    good, bad = read_rows(path)
    assert not isinstance(good, Rejected) and good.values == {"text": "é"}
    assert isinstance(bad, Rejected)


COMPRESSORS = {
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pyarrow.compress(content, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_every_compression_is_undone(write, suffix):
    packed = COMPRESSORS[suffix]
    assert [row.values for row in read_rows(write(f"a.jsonl{suffix}", packed(LINES.encode())))] == ROWS
    assert [row.values for row in read_rows(write(f"b.csv{suffix}", packed(CSV.encode("utf-16"))))] == ROWS


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_corrupt_compressed_file_is_refused(write, suffix, is_cut):
    content = COMPRESSORS[suffix](LINES.encode() * 100)[:-20] if is_cut else LINES.encode()
    with pytest.raises(DataError, match=f"`a.jsonl{suffix}` is not a complete"):
        list(read_rows(write(f"a.jsonl{suffix}", content)))


SCRIPTS = {
    "cp1250": "Zażółć gęślą jaźń i ciesz się. Święty Mikołaj dał prezenty. Źle się czuję. Łódź jest piękna wiosną",
    "cp1251": "Москва столица России, сегодня хорошая погода, пойдём гулять",
    "koi8_r": "Москва столица России, сегодня хорошая погода, пойдём гулять",
    "cp1253": "Η Αθήνα είναι η πρωτεύουσα, σήμερα έχει καλό καιρό και η ταινία ήταν βαρετή",
    "cp932": "東京は日本の首都です。とても大きい街です。今日は天気がいいですね。散歩に行きましょう。",
    "euc_jp": "東京は日本の首都です。とても大きい街です。今日は天気がいいですね。散歩に行きましょう。",
    "gb18030": "北京是中国的首都，非常大。今天天气很好，我们去散步吧。这部电影很无聊，不推荐。",
    "cp949": "서울은 한국의 수도입니다. 오늘 날씨가 좋네요. 이 영화는 지루해요. 서비스가 나빠요. 감사합니다",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_letters_show_the_encoding_of_other_scripts(write, name):
    lines = "".join(json.dumps({"text": SCRIPTS[name], "n": n}, ensure_ascii=False) + "\n" for n in range(3))
    rows = list(read_rows(write("a.jsonl", lines.encode(name))))
    assert [row.values["text"] for row in rows] == [SCRIPTS[name]] * 3
    assert f"`a.jsonl` is not UTF-8 and is read as {name} (for example `" in rows[0].note


@pytest.mark.parametrize(
    ("name", "text", "example"),
    [("cp1250", "łódź", "łódź"), ("cp1254", "İstanbul çok güzel bir şehir", "İstanbul"), ("cp1250", "tűzőrség", "")],
    ids=["short", "alike", "hungarian"],
)
def test_a_doubtful_encoding_is_refused_with_what_it_could_be(write, name, text, example):
    with pytest.raises(DataError) as caught:
        list(read_rows(write("a.jsonl", (json.dumps({"text": text}, ensure_ascii=False) + "\n").encode(name) * 3)))
    assert caught.value.what == "`a.jsonl` is not UTF-8, and its encoding is not clear from the text"
    assert example in caught.value.why
    assert "`iconv -f " in caught.value.fix


SHORT_JAPANESE = {
    "one sentence": "これは良い商品です",
    "a name": "吾輩は猫である。名前はまだ無い。",
    "a question": "質問は何ですか",
}


@pytest.mark.parametrize("name", ["cp932", "euc_jp"])
@pytest.mark.parametrize("text", SHORT_JAPANESE.values(), ids=SHORT_JAPANESE)
def test_hiragana_shows_japanese_text(write, name, text):
    lines = "".join(json.dumps({"text": text, "n": n}, ensure_ascii=False) + "\n" for n in range(3))
    rows = list(read_rows(write("a.jsonl", lines.encode(name))))
    assert [row.values["text"] for row in rows] == [text] * 3


OTHER_SCRIPTS = {
    **{name: text for name, text in SCRIPTS.items() if name not in ("cp932", "euc_jp")},
    "cp866": f"{SCRIPTS['cp1251']} В Вене. Во Владимире. Вы В Воронеже",
    "big5": "北京是首都。今天天氣很好我們去散步。電影",
}


@pytest.mark.parametrize("name", OTHER_SCRIPTS)
def test_other_text_shows_no_hiragana(name):
    clear, _ = guesses(OTHER_SCRIPTS[name].encode(name))
    assert clear is None or clear.name not in ("cp932", "euc_jp")


def test_shifts_between_character_sets_are_japanese(write):
    (row,) = read_rows(write("a.jsonl", '{"text": "東京"}\n'.encode("iso2022_jp")))
    assert row.values["text"] == "東京"
