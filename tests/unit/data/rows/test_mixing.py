"""Several sources: what is drawn of each, exactly; what is refused; and where each row is from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.data.rows.dataset import Records, load_records
from burnish.data.rows.mixing import drawn_rows
from burnish.errors import BurnishError
from burnish.prepare.first_checks import check_options
from burnish.recipe.load import dump_recipe, load_recipe, recipe_from_saved


@pytest.mark.parametrize(
    ("rows", "weights", "drawn"),
    [
        ([70, 500], [None, 0.3], [70, 30]),  # 70 is 70 %
        ([70, 10], [None, 0.3], [70, 30]),  # fewer rows than wanted are used several times
        ([50, 30, 100], [None, None, 0.2], [50, 30, 20]),
        ([10, 20, 30], [None, None, None], [10, 20, 30]),
        ([30, 30, 40], [2.0, 1.0, 1.0], [50, 25, 25]),  # all have one: relative, as many rows as before
        ([100, 100, 100], [None, 0.25, 0.35], [100, 63, 87]),  # of 250: 62.5 and 87.5, the first one rounded up
        ([10, 10, 10], [1.0, 1.0, 1.0], [10, 10, 10]),
        ([1, 1, 1], [1.0, 1.0, 2.0], [1, 1, 1]),  # 0.75, 0.75, 1.5: the largest remainders first
    ],
)
def test_the_numbers_follow_the_rule(rows: list[int], weights: list[float | None], drawn: list[int]) -> None:
    found = drawn_rows(rows, weights)
    assert found == drawn
    if all(weight is not None for weight in weights):
        assert sum(found) == sum(rows)


def write(path: Path, name: str, count: int) -> Path:
    """Questions that name their file."""
    rows = [{"prompt": f"{name} asks {number}?", "completion": f"{name} says {number}."} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load(folder: Path, several: list[Any], **options: Any) -> Records:
    """The records of several sources."""
    flags = {"data.path": several, **{f"data.{name}": value for name, value in options.items()}}
    recipe = load_recipe(None, flags, []).recipe
    check_options(recipe)
    return load_records(recipe.data)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files of 200, 400 and 50 rows."""
    return [write(tmp_path / f"{name}.jsonl", name, count) for name, count in (("a", 200), ("b", 400), ("c", 50))]


def counts(records: Records, split: str) -> list[int]:
    """Rows of each source in a split."""
    assert records.origins is not None
    found = Counter(records.origins.of_all(getattr(records, split)).tolist())
    return [found[number] for number in range(3)]


def test_the_share_of_each_source_is_exact(files: list[Path], tmp_path: Path) -> None:
    a, b, c = map(str, files)
    records = load(tmp_path, [a, {"path": b, "weight": 0.3, "rows": 300}, {"path": c, "weight": 0.2}])
    rows = counts(records, "train")
    whole = sum(rows)
    assert rows == [one.drawn for one in records.drawn]
    assert rows[1:] == [round(0.3 * whole), round(0.2 * whole)]
    assert rows[0] == records.drawn[0].rows
    used = Counter(record.place for record in records.train)
    assert {number for place, number in used.items() if "/a.jsonl" in place} == {1}
    assert {number for place, number in used.items() if "/b.jsonl" in place} == {1}
    most = {number for place, number in used.items() if "/c.jsonl" in place}
    assert max(most) - min(most) <= 1 and max(most) > 1
    assert max(int(place.rpartition(":")[2]) for place in used if "/b.jsonl" in place) <= 300


def test_every_split_has_its_share_of_each_source(files: list[Path], tmp_path: Path) -> None:
    records = load(tmp_path, list(map(str, files)))
    for split in ("valid", "test"):
        rows = counts(records, split)
        assert rows == pytest.approx([20, 40, 5], abs=1)
    everything = [{record.place for record in part} for part in (records.train, records.valid, records.test)]
    assert sum(map(len, everything)) == len(set().union(*everything)) == 650


def test_it_is_drawn_from_the_seed(files: list[Path], tmp_path: Path) -> None:
    several = [str(files[0]), {"path": str(files[1]), "weight": 0.3}]
    hashes = [load(tmp_path, several, split_seed=seed).sha256 for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("several", "message"),
    [
        (["a.jsonl", "a.jsonl"], "is named twice"),
        (["a.jsonl", {"path": "b.jsonl", "weight": 1.0}], "add up to 1, and 1 of the sources have none"),
        (["a.jsonl", {"path": "b.jsonl", "weight": 0}], "cannot be"),
        (["a.jsonl", {"path": "b.jsonl", "wieght": 0.2}], "cannot be"),
        ([], "cannot be"),
        (["a.jsonl", "nothing.jsonl"], "no such file"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    several: list[Any], message: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BurnishError) as error:
        load(tmp_path, several)
    assert message in error.value.what


def test_a_source_with_splits_beside_one_without_is_refused(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    write(folder / "train.jsonl", "d", 20)
    write(folder / "valid.jsonl", "e", 20)
    with pytest.raises(BurnishError, match="has validation rows of its own"):
        load(tmp_path, [str(folder), str(files[0])])


def test_a_bad_row_is_named_with_its_own_file(files: list[Path], tmp_path: Path) -> None:
    files[1].write_text(files[1].read_text(encoding="utf-8") + "not json\n", encoding="utf-8")
    rejected = load(tmp_path, list(map(str, files))).rejected
    assert [(Path(row.file).name, row.line) for row in rejected] == [("b.jsonl", 401)]


def test_a_recipe_keeps_its_sources(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(
        "data:\n  path:\n  - a.jsonl\n  - {path: b.jsonl, weight: 0.3, rows: 50}\n", encoding="utf-8"
    )
    recipe = load_recipe("recipe.yaml", {}, []).recipe
    assert [(one.path, one.weight, one.rows) for one in recipe.data.sources] == [
        (str(files[0]), None, None),
        (str(files[1]), 0.3, 50),
    ]
    (tmp_path / "saved.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert recipe_from_saved(tmp_path / "saved.yaml") == recipe
    assert load_recipe(["a.jsonl", "b.jsonl"], {}, []).recipe.data.named == f"{files[0]}, {files[1]}"
    assert load_recipe(["a.jsonl"], {}, []).recipe.data.path == str(files[0])
    with pytest.raises(BurnishError, match="is a recipe"):
        load_recipe(["a.jsonl", "recipe.yaml"], {}, [])
