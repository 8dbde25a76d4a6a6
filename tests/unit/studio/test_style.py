"""The stylesheet: text that can be read on every surface, in light and dark; nothing from elsewhere."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from burnish.report.page import style

STUDIO = resources.files("burnish") / "assets" / "studio"
LEAST = 4.5
"""Contrast of text on its ground, for the level AA of WCAG."""
PAIRS = [
    *((text, ground) for text in ("ink", "soft") for ground in ("page", "raised", "panel", "paper")),
    *(("accent", ground) for ground in ("page", "raised", "accent-soft")),
    ("accent-ink", "accent"),
    *(("ink", ground) for ground in ("accent-soft", "warn-soft", "bad-soft", "good-soft", "band", "learned")),
    ("good", "good-soft"),
    ("bad", "bad-soft"),
    ("bad", "raised"),
    ("open", "warn-soft"),
    ("open", "raised"),
    ("held", "raised"),
    ("paper", "ink"),
    *((f"over{number}", "raised") for number in range(6)),
]


def colours(is_dark: bool) -> dict[str, str]:
    """The colours of a scheme by name: those of the report, then those of the studio."""
    found: dict[str, str] = {}
    for text in (style(), (STUDIO / "studio.css").read_text(encoding="utf-8")):
        light, _, rest = text.partition("prefers-color-scheme: dark")
        dark = rest[: rest.index("}")] if rest else ""
        for part in [light, dark] if is_dark else [light]:
            found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
    return found


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_in_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_can_be_read(is_dark: bool) -> None:
    found = colours(is_dark)
    low = {(text, ground): round(contrast(found[text], found[ground]), 2) for text, ground in PAIRS}
    assert {pair: ratio for pair, ratio in low.items() if ratio < LEAST} == {}


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name in ("studio.css", "studio.js"):
        text = (STUDIO / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text.replace("// ", ""))
