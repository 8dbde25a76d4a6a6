"""The page on data formats: every example on it is read, and is what the page says it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from burnish.data.files.readers import READERS
from burnish.data.rows.dataset import load_records
from burnish.data.rows.patterns import PATTERNS
from burnish.data.rows.row import FIELDS
from burnish.recipe.schema import DataSection

PAGE = (Path(__file__).parents[3] / "docs" / "data-formats.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(\w+)\n((?:(?!```).)*)```\n\nDetected as `([\w-]+)`\.", PAGE, flags=re.DOTALL)
(ANNOTATIONS,) = re.findall(r"```annotations\n(.*?)```", PAGE, flags=re.DOTALL)

BINARY = {".parquet", ".arrow", ".feather", ".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"}


def test_every_format_and_every_shape_has_an_example():
    assert {f".{ending}" for ending, _, _ in EXAMPLES} == set(READERS) - BINARY
    assert {shape for _, _, shape in EXAMPLES} == {pattern.name for pattern in PATTERNS}
    assert len(EXAMPLES) == PAGE.count("Detected as")


@pytest.mark.parametrize(("ending", "text", "shape"), EXAMPLES)
def test_an_example_is_what_the_page_says(tmp_path, ending, text, shape):
    path = tmp_path / f"example.{ending}"
    path.write_text(text if ending != "ann" else ANNOTATIONS, encoding="utf-8")
    path.with_suffix(".txt").write_text(text, encoding="utf-8")
    Image.new("RGB", (8, 8), "grey").save(tmp_path / "cat.png")
    records = load_records(DataSection(path=str(path)))
    assert records.shape.name == shape
    assert records.rejected == []
    number = 1 if ending in ("txt", "md") else 3 if shape.startswith("scored") else 2
    assert len(records.train) + len(records.valid) + len(records.test) == number


def test_the_tables_and_lists_are_complete():
    for pattern in PATTERNS:
        for name in pattern.names:
            assert name == "ends" or f"`{name}`" in PAGE
        assert f"| `{pattern.name}` |" in PAGE
    for name in (*FIELDS, *READERS):
        assert f"`{name}`" in PAGE
