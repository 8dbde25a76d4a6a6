"""Paces that were measured: kept, found, and never a reason to fail."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from burnish.plan.known import KnownPace, find_pace, keep_pace, pace_key, remove_unfinished
from burnish.plan.time import keep_faster
from burnish.system.machine import cache_folder

KEY = pace_key({"model": "a"})
KNOWN = KnownPace(
    seconds_per_token=0.25,
    validation_token=0.08,
    prompt_token=0.07,
    new_token=0.5,
    loading=2.0,
    checkpoint=4096,
    grown=1 << 20,
    others=0.1,
    packing=True,
    micro_tokens=2048,
    measured=1e9,
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which is not there yet."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


def changed(**values: Any) -> str:
    """The text of a file with other values."""
    return json.dumps({**asdict(KNOWN), **values})


def test_what_is_kept_is_found(cache: Path) -> None:
    assert find_pace(KEY) is None
    assert not cache.exists(), "looking makes nothing"
    assert keep_pace(KEY, KNOWN) == ""
    assert find_pace(KEY) == KNOWN
    assert find_pace(pace_key({"model": "b"})) is None
    newer = replace(KNOWN, seconds_per_token=0.5, packing=False, micro_tokens=1024, measured=1.1e9)
    assert keep_pace(KEY, newer) == ""
    assert find_pace(KEY) == newer
    assert [path.name for path in cache.rglob("*") if path.is_file()] == [f"{KEY}.json"]


def test_what_a_killed_process_was_writing_is_removed(cache: Path) -> None:
    """Also where the next run keeps no pace, or one of another key."""
    remove_unfinished()
    assert not cache.exists(), "removing makes nothing"
    for remove in (remove_unfinished, lambda: keep_pace(pace_key({"model": "b"}), KNOWN)):
        for folder in ("paces", "trials"):
            (cache / folder).mkdir(parents=True, exist_ok=True)
            (cache / folder / f".writing-{KEY}.json-01234567").write_text("{")
        remove()
        assert not list(cache.rglob(".writing-*"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"seconds_per_token": 0.2',
        "[]",
        "null",
        '{"seconds_per_token": 0.25}',
        changed(other=1),
        changed(seconds_per_token="fast"),
        changed(seconds_per_token=None),
        changed(seconds_per_token=0),
        changed(seconds_per_token=-1.0),
        changed(seconds_per_token=float("nan")),
        changed(seconds_per_token=10**400),
        changed(validation_token=-0.1),
        changed(prompt_token=float("inf")),
        changed(new_token="slow"),
        changed(loading=-1),
        changed(grown=-1),
        changed(checkpoint=None),
        changed(others=float("nan")),
        changed(packing="yes"),
        changed(micro_tokens=0),
        changed(micro_tokens=1.5),
        changed(measured=time.time() + 86_400),
        changed(measured="today"),
    ],
    ids=itertools.count(),  # some hold the time of day
)
def test_a_damaged_file_is_as_good_as_none_and_is_written_over(content: str, cache: Path) -> None:
    keep_pace(KEY, KNOWN)
    (file,) = cache.rglob("*.json")
    file.write_text(content, encoding="utf-8")
    assert find_pace(KEY) is None
    assert keep_pace(KEY, KNOWN) == ""
    assert find_pace(KEY) == KNOWN


def test_what_is_no_text_is_damaged_too(cache: Path) -> None:
    keep_pace(KEY, KNOWN)
    (file,) = cache.rglob("*.json")
    file.write_bytes(b"\xff\xfe\x00")
    assert find_pace(KEY) is None


def test_a_folder_that_cannot_be_written_is_reported_in_words(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file", encoding="utf-8")
    assert str(cache) in keep_pace(KEY, KNOWN)
    assert find_pace(KEY) is None
    assert cache.read_text(encoding="utf-8") == "a file"


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", "~nobody-of-that-name/cache")
    assert "home" in keep_pace(KEY, KNOWN)
    assert find_pace(KEY) is None


def test_tests_keep_nothing_where_their_user_does(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert cache_folder().is_relative_to(tmp_path_factory.getbasetemp())


def test_a_key_follows_from_every_ingredient() -> None:
    ingredients = {"model": "a", "shape": {"rows": 4, "width": 512}, "threads": 2}
    assert pace_key(ingredients) == pace_key(dict(reversed(ingredients.items())))
    others = [
        {**ingredients, "model": "b"},
        {**ingredients, "shape": {"rows": 2, "width": 512}},
        {**ingredients, "threads": 1},
        {**ingredients, "more": None},
    ]
    assert len({pace_key(one) for one in [ingredients, *others]}) == 5


@pytest.mark.parametrize(("measured", "kept"), [(0.2, 0.2), (0.3, 0.25), (0.0, 0.25)], ids=["faster", "slower", "none"])
def test_a_run_that_was_faster_corrects_its_pace(cache: Path, measured: float, kept: float) -> None:
    notes: list[Any] = []
    keep_faster(KEY, measured, notes.append)
    assert find_pace(KEY) is None, "there is nothing to correct"
    keep_pace(KEY, KNOWN)
    keep_faster(KEY, measured, notes.append)
    found = find_pace(KEY)
    assert found is not None
    assert found.seconds_per_token == kept
    assert replace(found, seconds_per_token=0.25, measured=1e9) == KNOWN
    assert notes == []
