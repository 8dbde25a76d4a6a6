"""Images: checked once while rows are read, and decoded again whenever a batch needs them."""

from __future__ import annotations

import functools
import hashlib
import io
import struct
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.rows.row import RowError

# Formats that Pillow decodes itself: for others, such as EPS, it would run an external program on an untrusted file.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_KEPT_BYTES = 1 << 28
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that has been decoded successfully."""

    name: str
    """Its file, or its location in the data, as errors name it."""
    sha256: str
    """SHA-256 of its bytes (hex)."""
    data: bytes | None = None
    """Its encoded bytes, if they are part of the data; None if they are in the file `name`."""

    def read(self) -> bytes:
        """Its encoded bytes. Raises RowError if the file is missing or has changed."""
        if self.data is not None:
            return self.data
        data = _read(Path(self.name))
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise RowError(f"the image `{self.name}` has changed since it was first read")
        return data


def picture_in_file(path: Path) -> Picture:
    """Checks an image file.

    Raises:
        RowError: it is missing, not an image, truncated, or too large to open.
    """
    try:
        stat = path.stat()
    except (OSError, ValueError) as error:
        raise RowError(f"there is no image `{shortened(str(path))}`") from error
    if not path.is_file():
        raise RowError(f"the image `{path}` is not a file")
    return _checked_file(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4096)
def _checked_file(path: Path, _changed: int, _size: int) -> Picture:
    """Cached, because many rows may use the same image."""
    data = _read(path)
    decode(data, str(path))
    return Picture(str(path), hashlib.sha256(data).hexdigest())


def picture_in_data(data: bytes, name: str) -> Picture:
    """Checks an image whose bytes are part of the data, with the errors of `picture_in_file`."""
    decode(data, name)
    return Picture(name, hashlib.sha256(data).hexdigest(), data)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RowError(f"the image `{path}` cannot be read: {error.strerror}") from error


def decode(data: bytes, name: str) -> Any:
    """Decodes an image to a `PIL.Image.Image` in RGB: upright, the first of several frames, on a white background.

    Raises:
        RowError: it is not an image of a supported format, is truncated or corrupt, or has more pixels than Pillow
            considers safe.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    named = f"the image `{shortened(name)}`"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                opened.load()
                return in_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError as error:
        raise RowError(f"`{shortened(name)}` is not an image; supported formats are {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RowError(f"{named} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, Pillow's limit") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise RowError(f"{named} is truncated or corrupt: {error}") from error


def in_rgb(image: Any) -> Any:
    """Converts a `PIL.Image.Image` to RGB; transparency becomes white, 16-bit gray becomes 8-bit."""
    import numpy
    from PIL import Image

    if image.mode.startswith("I"):
        levels = numpy.asarray(image).astype(numpy.int64)
        image = Image.fromarray((levels >> 8 if levels.max(initial=0) > 255 else levels).clip(0, 255).astype("uint8"))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("RGB")


def shortened(name: str) -> str:
    """A name shortened for messages; it may be a complete image in base64."""
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"


class Album:
    """Opens and scales images, with a cache of recently used ones.

    Args:
        longest_side: maximum length of the longest side in pixels; None for no scaling.
    """

    def __init__(self, longest_side: int | None = None) -> None:
        self._longest_side = longest_side
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._bytes = 0

    def open(self, picture: Picture) -> Any:
        """An image as a `PIL.Image.Image` in RGB. Raises RowError if its file is missing or has changed."""
        if picture.sha256 in self._kept:
            self._kept.move_to_end(picture.sha256)
            return self._kept[picture.sha256]
        image = self._scaled(decode(picture.read(), picture.name))
        self._kept[picture.sha256] = image
        self._bytes += _size(image)
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return image

    def _scaled(self, image: Any) -> Any:
        from PIL import Image

        longest = max(image.size)
        if self._longest_side is None or longest <= self._longest_side:
            return image
        width, height = (max(1, round(side * self._longest_side / longest)) for side in image.size)
        return image.resize((width, height), Image.Resampling.BICUBIC)


def _size(image: Any) -> int:
    """Size of an RGB image in bytes."""
    return 3 * image.width * image.height
