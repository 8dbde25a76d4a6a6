"""Hub datasets: taken from the cache, and where there is none a clear error. Each in a process of its own, since
`datasets` reads its settings when it is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snapshots import check_text

PREPARE = """
from datasets import DatasetInfo, Features, SplitDict, SplitInfo, Value, config
from datasets.arrow_writer import ArrowWriter
folder = config.HF_DATASETS_CACHE / "someone___tiny_set" / "default" / "0.0.0" / "abc"
folder.mkdir(parents=True)
features = Features({"prompt": Value("string"), "completion": Value("int32")})
splits = SplitDict(dataset_name="tiny_set")
for name, count in SPLITS.items():
    writer = ArrowWriter(path=str(folder / f"tiny_set-{name}.arrow"), features=features)
    for number in range(count):
        writer.write({"prompt": f"{name} {number}", "completion": number})
    num_examples, num_bytes = writer.finalize()
    writer.close()
    splits.add(SplitInfo(name=name, num_bytes=num_bytes, num_examples=num_examples))
DatasetInfo(features=features, splits=splits, builder_name="parquet", dataset_name="tiny_set", config_name="default",
            version="0.0.0").write_to_directory(str(folder))
"""
LOAD = """
from burnish.data.rows.dataset import load_records
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from tests.snapshots import check_text
try:
    records = load_records(DataSection(path=NAME))
except DataError as error:
    print(error.what, error.why, error.fix, sep="\\n")
else:
    parts = (records.train, records.valid, records.test)
    print(records.shape.name, *map(len, parts), sorted(records.held_out), records.files)
    print(records.train[0])
"""


def run(home: Path, program: str, **environment: str) -> str:
    """Standard output of a Python program with a Hugging Face home of its own and no way out."""
    settings = {"HF_HOME": str(home), "HF_DATASETS_CACHE": "", "HF_ENDPOINT": "http://127.0.0.1:9", **environment}
    removed = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_CACHE", "HTTP_PROXY", "http_proxy"}
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    settings = {name: value for name, value in settings.items() if value}
    done = subprocess.run([sys.executable, "-c", program], env={**kept, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": 4, "validation": 2}, "prompt-completion 4 2 0 [] ['{0}/train', '{0}/validation']"),
        ({"train": 10, "test": 2}, "prompt-completion 8 2 2 ['valid'] ['{0}/train', '{0}/test']"),
        ({"other": 3}, "the hub dataset `{0}` has no split named train"),
    ],
)
def test_a_cached_dataset_is_read_offline(tmp_path, splits, expected):
    program = f"SPLITS, NAME = {splits!r}, 'someone/tiny_set'" + PREPARE + LOAD
    lines = run(tmp_path, program, HF_HUB_OFFLINE="1").splitlines()
    assert lines[0] == expected.format("someone/tiny_set")
    if "train" in splits and "validation" in splits:
        assert lines[1] == (
            "ChatRecord(messages=({'role': 'user', 'content': 'train 0'}, {'role': 'assistant', 'content': '0'}), "
            "tools=None, place='someone/tiny_set/train:1')"
        )


@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, {}],
)
def test_without_cache_and_network_the_cache_is_named(tmp_path, environment):
    said = run(tmp_path, "NAME = 'someone/nothing:main'" + LOAD, **environment)
    masked = said.replace(str(tmp_path / "datasets" / "someone___nothing"), "CACHE")
    check_text(re.sub(r"(cannot be reached: ).*", r"\1...", masked))


def test_a_configuration_that_is_not_cached_is_refused(tmp_path):
    program = "SPLITS, NAME = {'train': 3}, 'someone/tiny_set:french'" + PREPARE + LOAD
    what, why, fix = run(tmp_path, program, HF_HUB_OFFLINE="1").splitlines()
    assert what == "the hub dataset `someone/tiny_set:french` needs another configuration"
    assert "Available configs in the cache: ['default']" in why
    assert fix == "Write `someone/tiny_set:CONFIG`"
