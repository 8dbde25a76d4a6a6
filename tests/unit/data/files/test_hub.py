"""Hub datasets: taken from the cache, and where there is none a clear error. In processes of their own,
since `datasets` reads its settings when it is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.snapshots import check_text

SETS = {
    "valid": {"train": 4, "validation": 2},
    "test": {"train": 10, "test": 2},
    "other": {"other": 3},
}
"""Cached datasets: their splits, and how many rows each has."""
PREPARE = f"""
from datasets import DatasetInfo, Features, SplitDict, SplitInfo, Value, config
from datasets.arrow_writer import ArrowWriter
features = Features({{"prompt": Value("string"), "completion": Value("int32")}})
for name, counts in {SETS}.items():
    folder = config.HF_DATASETS_CACHE / f"someone___{{name}}" / "default" / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    splits = SplitDict(dataset_name=name)
    for split, count in counts.items():
        writer = ArrowWriter(path=str(folder / f"{{name}}-{{split}}.arrow"), features=features)
        for number in range(count):
            writer.write({{"prompt": f"{{split}} {{number}}", "completion": number}})
        num_examples, num_bytes = writer.finalize()
        writer.close()
        splits.add(SplitInfo(name=split, num_bytes=num_bytes, num_examples=num_examples))
    DatasetInfo(features=features, splits=splits, builder_name="parquet", dataset_name=name, config_name="default",
                version="0.0.0").write_to_directory(str(folder))
"""
LOAD = """
from burnish.data.rows.dataset import load_records
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_text
for name in NAMES:
    try:
        records = load_records(DataSection(path=name))
    except DataError as error:
        print(error.what, error.why, error.fix, sep="\\n")
    else:
        parts = (records.train, records.valid, records.test)
        print(records.shape.name, *map(len, parts), sorted(records.held_out), records.files)
        print(records.train[0])
    print("---")
"""


def run(home: Path, names: list[str], prepare: str = "", **environment: str) -> list[list[str]]:
    """What is printed of each dataset by a process with a Hugging Face home of its own and no way out."""
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9", **environment}
    removed = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_CACHE", "HTTP_PROXY", "http_proxy"}
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    program = f"NAMES = {names!r}\n{prepare}{LOAD}"
    done = subprocess.run([sys.executable, "-c", program], env={**kept, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [part.splitlines() for part in done.stdout.split("---\n")[:-1]]


def test_cached_datasets_are_read_offline(tmp_path: Path) -> None:
    names = ["someone/valid", "someone/test", "someone/other", "someone/valid:french", "someone/nothing:main"]
    valid, test, other, french, nothing = run(tmp_path, names, PREPARE, HF_HUB_OFFLINE="1")
    assert valid == [
        "prompt-completion 4 2 0 [] ['someone/valid/train', 'someone/valid/validation']",
        "ChatRecord(messages=({'role': 'user', 'content': 'train 0'}, {'role': 'assistant', 'content': '0'}), "
        "tools=None, place='someone/valid/train:1')",
    ]
    assert test[0] == "prompt-completion 8 2 2 ['valid'] ['someone/test/train', 'someone/test/test']"
    assert other[0] == "the hub dataset `someone/other` has no split named train"
    what, why, fix = french
    assert what == "the hub dataset `someone/valid:french` needs another configuration"
    assert "Available configs in the cache: ['default']" in why
    assert fix == "Write `someone/valid:CONFIG`"
    check_text(masked(nothing, tmp_path))


def test_without_cache_and_network_the_cache_is_named(tmp_path: Path) -> None:
    (said,) = run(tmp_path, ["someone/nothing:main"])
    check_text(masked(said, tmp_path))


def masked(lines: list[str], home: Path) -> str:
    """Lines without what is this machine's own."""
    text = "\n".join(lines).replace(str(home / "datasets" / "someone___nothing"), "CACHE")
    return re.sub(r"(cannot be reached: ).*", r"\1...", text)
