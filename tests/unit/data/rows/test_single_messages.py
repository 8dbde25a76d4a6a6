"""Tables with a message in each row are refused, with a command that makes a conversation of each."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.data.rows.single_messages import single_message_advice
from burnish.errors import DataError

TALKS = [[("user", f"Hi, it's {number}."), ("assistant", "Hello."), ("user", "Bye."), ("assistant", "Bye.")]
         for number in range(5)]  # fmt: skip


def rows_of(talk: str = "conversation_id", role: str = "role", said: str = "content") -> list[dict[str, Any]]:
    return [
        {talk: f"c{number}", "turn": place, role: whose, said: text}
        for number, turns in enumerate(TALKS)
        for place, (whose, text) in enumerate(turns, start=1)
    ]


@pytest.mark.parametrize(
    "names", [("conversation_id", "role", "content"), ("thread", "author", "message"), ("x", "from", "value")]
)
def test_single_messages_are_not_taken_for_labels_of_each_other(names: tuple[str, str, str]) -> None:
    rows = [Row(values, "f.xlsx", line) for line, values in enumerate(rows_of(*names), start=2)]
    with pytest.raises(DataError) as caught:
        detect_shape(rows, {})
    assert f"`{names[1]}` says whose" in caught.value.why
    assert "data.columns" not in caught.value.fix
    assert "as one row" in caught.value.fix


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_the_command_makes_a_row_of_each_conversation(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    rows, name = rows_of("dialog id", "speaker", "text"), f"talks.{suffix}"
    if suffix == "parquet":
        pandas.DataFrame(rows).to_parquet(name)
    else:
        with Path(name).open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="," if suffix == "csv" else "\t")
            table.writeheader()
            table.writerows(rows)
    advised = single_message_advice(rows, name)
    assert advised is not None
    words = shlex.split(advised[1].split("`")[1])
    subprocess.run([sys.executable, *words[1:]], check=True)
    made = [json.loads(line)["messages"] for line in Path("OUT.jsonl").read_text().splitlines()]
    assert [[(turn["role"], turn["content"]) for turn in turns] for turns in made] == TALKS


def test_rows_with_a_role_that_are_more_than_a_message_are_left_alone() -> None:
    assert single_message_advice([{"role": "manager", "content": "a b"}] * 5, "f.csv") is None
    rows = [{"role": "user", "content": [1]}, {"role": "assistant", "content": [2]}]
    assert single_message_advice(rows, "f.csv") is None
