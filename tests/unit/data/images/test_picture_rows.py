"""Rows with pictures: their layouts, and what is refused of them."""

from __future__ import annotations

import base64
import io
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from burnish.data.images.images import Album, decode, picture_in_file
from burnish.data.rows.patterns import PATTERNS
from burnish.data.rows.records import PictureRecord, content_hash
from burnish.data.rows.row import RowError
from burnish.data.rows.shapes import pattern_of
from tests.snapshots import check_message
from tests.tiny_data import read_as
from tests.tiny_vision import draw

ASKED = [{"role": "user", "content": "<image>\nWhat is it?"}, {"role": "assistant", "content": "Red."}]
SHOWN = [{"type": "image"}, {"type": "text", "text": "What is it?"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path / "red.png", "red")
    draw(tmp_path / "blue.png", "blue")
    return tmp_path


def read(values: dict[str, Any], folder: Path) -> PictureRecord:
    """The record of a row of the file `rows.jsonl` in a folder, of whatever shape it is found to have."""
    pattern = pattern_of(values, PATTERNS)
    assert pattern is not None and pattern.record is PictureRecord
    record = read_as(pattern, values, f"{folder / 'rows.jsonl'}:3")
    assert isinstance(record, PictureRecord)
    return record


def as_bytes(path: Path) -> bytes:
    return path.read_bytes()


def test_marks_in_the_text(folder: Path) -> None:
    record = read({"messages": ASKED, "images": ["red.png"]}, folder)
    assert record.messages[0]["content"] == SHOWN
    assert record.messages[1] == {"role": "assistant", "content": [{"type": "text", "text": "Red."}]}
    assert [picture.name for picture in record.images] == [str(folder / "red.png")]


def test_the_layout_of_llava(folder: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "Red."}]
    record = read({"conversations": turns, "image": "red.png"}, folder)
    assert record.messages[0] == {"role": "user", "content": SHOWN}


def test_pictures_stand_where_their_marks_do(folder: Path) -> None:
    asked = [{"role": "user", "content": "First <image>, then <image>: same?"}, ASKED[1]]
    record = read({"messages": asked, "images": ["blue.png", "red.png"]}, folder)
    assert [part["type"] for part in record.messages[0]["content"]] == ["text", "image", "text", "image", "text"]
    assert [Path(picture.name).name for picture in record.images] == ["blue.png", "red.png"]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "red.png"},
        {"type": "image", "path": "red.png", "text": None},
        {"type": "image_url", "image_url": {"url": "red.png"}},
        {"type": "input_image", "image_url": "red.png"},
    ],
)
def test_parts_that_name_their_picture(part: dict[str, Any], folder: Path) -> None:
    asked = [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}, ASKED[1]]
    record = read({"messages": asked}, folder)
    assert record.messages[0]["content"] == SHOWN
    assert record.images[0].name == str(folder / "red.png")


def test_parts_without_a_name_take_the_pictures_of_the_column(folder: Path) -> None:
    assert read({"messages": [{"role": "user", "content": SHOWN}, ASKED[1]], "images": ["red.png"]}, folder).images


def test_bytes_and_data_urls(folder: Path) -> None:
    data = as_bytes(folder / "red.png")
    inside = read({"messages": ASKED, "images": [{"bytes": data, "path": None}]}, folder)
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    spelled = read({"messages": [{"role": "user", "content": [part, SHOWN[1]]}, ASKED[1]]}, folder)
    beside = read({"messages": ASKED, "images": [{"bytes": None, "path": "red.png"}]}, folder)
    assert inside.images[0].data == spelled.images[0].data == data
    assert content_hash(inside) == content_hash(spelled) == content_hash(beside)


def test_a_question_about_a_picture(folder: Path) -> None:
    record = read({"image": "red.png", "question": "What is it?", "answer": "Red."}, folder)
    assert record.messages[0]["content"] == SHOWN


def test_a_list_of_pictures_as_json_text(folder: Path) -> None:
    record = read({"images": '["red.png", "blue.png"]', "question": "Same?", "answer": "No."}, folder)
    assert len(record.images) == 2


def test_a_row_without_pictures(folder: Path) -> None:
    asked = [{"role": "user", "content": "Who?"}, ASKED[1]]
    assert read({"messages": asked, "images": []}, folder).images == ()


def test_the_hash_is_that_of_what_is_shown(folder: Path) -> None:
    draw(folder / "copy.png", "red")
    first, copy, other = (
        read({"messages": ASKED, "images": [name]}, folder) for name in ("red.png", "copy.png", "blue.png")
    )
    assert content_hash(first) == content_hash(replace(copy, place="elsewhere:1"))
    assert content_hash(first) != content_hash(other)


def cut_off(folder: Path) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    noise.save(folder / "whole.jpg", quality=95)
    (folder / "bad.jpg").write_bytes(as_bytes(folder / "whole.jpg")[:-900])


def no_picture(folder: Path) -> None:
    (folder / "bad.jpg").write_text("a text by the name of a picture", encoding="utf-8")


def a_folder(folder: Path) -> None:
    (folder / "bad.jpg").mkdir()


def too_large(folder: Path) -> None:
    # A PNG that says it has 20,000 x 20,000 pixels: they would fill 1.2 GB.
    data = bytearray(as_bytes(folder / "red.png"))
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (folder / "bad.jpg").write_bytes(bytes(data))


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: None,
        cut_off,
        no_picture,
        a_folder,
        too_large,
    ],
)
def test_pictures_that_are_refused(make: Any, folder: Path) -> None:
    make(folder)
    with pytest.raises(RowError) as caught:
        read({"messages": ASKED, "images": ["bad.jpg"]}, folder)
    check_message(caught.value, {folder: "FOLDER"})


@pytest.mark.parametrize(
    "change",
    [
        {"images": ["red.png", "blue.png"]},
        {"images": []},
        {"messages": [{"role": "user", "content": "What?"}, ASKED[1]]},
        {"images": ["http://example.org/red.png"]},
        {"images": [3]},
        {"images": [None]},
        {"images": [{"bytes": None, "path": None}]},
        {"images": ["data:image/png;base64,@@"]},
        {"images": ["data:image/png,x"]},
        {"messages": ASKED[:1]},
        {"messages": [ASKED[0], {"role": "assistant", "content": ""}]},
        {"messages": "hello"},
        {"messages": [{"role": "user", "content": [{"type": "video"}]}, ASKED[1]]},
        {"messages": [{"role": "user", "content": "Draw."}, {"role": "assistant", "content": "<image>"}]},
    ],
)
def test_rows_that_are_refused(change: dict[str, Any], folder: Path) -> None:
    with pytest.raises(RowError) as caught:
        read({"messages": ASKED, "images": ["red.png"], **change}, folder)
    check_message(caught.value, {folder: "FOLDER"})


def test_a_question_without_an_answer_is_refused(folder: Path) -> None:
    with pytest.raises(RowError, match="the answer is missing"):
        read({"image": "red.png", "question": "What is it?", "answer": None}, folder)


@pytest.mark.parametrize(
    ("mode", "level", "seen"),
    [("P", 128, 128), ("L", 128, 128), ("RGBA", 128, 128), ("LA", 128, 128), ("CMYK", 128, 128), ("1", 255, 255)],
)
def test_every_mode_becomes_rgb(mode: str, level: int, seen: int) -> None:
    grey = Image.new("RGB", (4, 4), (level,) * 3)
    image = grey.quantize(4) if mode == "P" else grey.convert(mode)
    assert image.mode == mode
    assert shown(image, "TIFF" if mode == "CMYK" else "PNG").getpixel((1, 1)) == (seen,) * 3


def test_sixteen_bits_of_grey_become_eight() -> None:
    assert shown(Image.new("I;16", (4, 4), 128 << 8)).getpixel((1, 1)) == (128,) * 3


def shown(image: Any, form: str = "PNG", **options: Any) -> Any:
    """A picture, written and read back."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return decode(stream.getvalue(), "drawn")


def test_what_is_transparent_becomes_white() -> None:
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    for seen in (shown(clear), shown(palette, transparency=0)):
        assert [seen.getpixel((at, 0)) for at in (0, 1)] == [(255, 255, 255), (255, 0, 0)]


def test_an_animation_is_its_first_frame_and_a_photo_stands_upright() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert shown(frames[0], "GIF", save_all=True, append_images=frames[1:]).getpixel((0, 0)) == (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert shown(Image.new("RGB", (6, 2), "red"), "JPEG", exif=exif).size == (2, 6)


def test_the_album_scales_down_and_never_up(folder: Path) -> None:
    picture = picture_in_file(draw(folder / "wide.png", "red", (64, 16)))
    assert Album(32).open(picture).size == (32, 8)
    assert Album(200).open(picture).size == (64, 16)
    assert Album().open(picture).size == (64, 16)


def test_the_album_notices_a_changed_file(folder: Path) -> None:
    picture = picture_in_file(folder / "red.png")
    draw(folder / "red.png", "blue")
    with pytest.raises(RowError, match="has changed since it was first read"):
        Album().open(picture)
    (folder / "red.png").unlink()
    with pytest.raises(RowError, match="cannot be read"):
        Album().open(picture)
