"""Every command on tiny models: what it reads, prints and writes."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_result import adapter_bytes, read_lines, screen
from tests.e2e.conftest import EXACT, SHORT, Burnish
from tests.snapshots import check_snapshot
from tests.tiny_models import make_network, save_model

PARTS = "training", "validation", "test", "rejected"
TEXT = "".join(f"The {colour} fox sails over the water.\n\n" * 30 for colour in ("red", "blue", "green", "grey", "old"))


def as_jsonl(rows: list[dict[str, str]], path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def as_json(rows: list[dict[str, str]], path: Path) -> None:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def as_table(delimiter: str) -> Callable[[list[dict[str, str]], Path], None]:
    def write(rows: list[dict[str, str]], path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    return write


def as_parquet(rows: list[dict[str, str]], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


WRITERS = {
    "json": as_json,
    "csv": as_table(","),
    "tsv": as_table("\t"),
    "parquet": as_parquet,
    "jsonl.gz": as_jsonl,
    "json.gz": as_json,
    "csv.gz": as_table(","),
    "parquet.gz": as_parquet,
}


def compress(path: Path) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize(
    "ending",
    [pytest.param(one, marks=[] if one in ("csv", "parquet") else pytest.mark.slow) for one in WRITERS],
)
def test_the_same_rows_give_the_same_adapter_whatever_the_format(
    ending: str, runs: Path, here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    rows = read_lines(rows_file)
    WRITERS[ending](rows, here / f"rows.{ending}")
    compress(here / f"rows.{ending}")
    result = burnish(f"train rows.{ending} --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    assert adapter_bytes(runs / "mine") == adapter_bytes(runs / "whole")
    (ready,) = read_lines(runs / "mine" / "events.jsonl", "DataReady")
    assert (ready["shape"], ready["task"]) == ("prompt-completion", "chat")
    assert tuple(ready[f"{name}_rows"] for name in PARTS) == (24, 8, 8, 0)


def test_running_text(here: Path, base: Path, burnish: Burnish) -> None:
    results = {}
    for ending in ("txt", "md", "txt.gz"):
        (here / f"tale.{ending}").write_text(TEXT, encoding="utf-8")
        compress(here / f"tale.{ending}")
        result = burnish(f"train tale.{ending} --model {base} --name {ending} {SHORT}")
        assert result.code == 0, result.err
        (ready,) = read_lines(here / "runs" / ending / "events.jsonl", "DataReady")
        assert (ready["shape"], ready["task"]) == ("text", "text")
        losses = [line["loss"] for line in read_lines(here / "runs" / ending / "metrics.jsonl", "Validated")]
        assert losses[-1] < losses[0] - 0.5
        results[ending] = adapter_bytes(here / "runs" / ending)
    assert len(set(results.values())) == 1
    result = burnish('generate txt "The old fox" --max-new-tokens 5 --json')
    assert result.json["answers"][0]["answer"]


def test_a_folder_with_parts(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    rows = read_lines(rows_file)
    (here / "data").mkdir()
    as_jsonl(rows[:25], here / "data" / "train.jsonl")
    as_table(",")(rows[22:32], here / "data" / "valid.csv")
    as_json(rows[32:], here / "data" / "test.json")
    result = burnish(f"train data --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    (ready,) = read_lines(here / "runs/mine/events.jsonl", "DataReady")
    assert tuple(ready[f"{name}_rows"] for name in PARTS) == (22, 10, 8, 3)
    rejected = read_lines(here / "runs/mine/rejected.jsonl")
    assert [row["line"] for row in rejected] == [23, 24, 25]
    assert {row["reason"] for row in rejected} == {"also in the validation data"}
    manifest = json.loads((here / "runs/mine/manifest.json").read_text(encoding="utf-8"))
    assert manifest["data"]["files"] == [
        str(here / "data" / name) for name in ("train.jsonl", "valid.csv", "test.json")
    ]


def test_columns_that_are_not_read_are_named(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    as_jsonl([{**row, "source": "made", "note": ""} for row in read_lines(rows_file)], here / "rows.jsonl")
    result = burnish(f"train rows.jsonl --model {base} {SHORT}")
    assert "Unused: the columns `note`, `source`." in result.err


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("--method full", marks=pytest.mark.slow),
        pytest.param("--method full --set train.gradient_checkpointing=true", marks=pytest.mark.slow),
        "--set lora.dora=true --set lora.rslora=true --set lora.dropout=0.1 --set lora.bias=all",
        pytest.param("--set lora.targets=[q_proj,v_proj] --set lora.modules_to_save=[lm_head]", marks=pytest.mark.slow),
    ],
)
def test_options_of_training(options: str, here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"train {rows_file} --model {base} --name mine {SHORT} --set data.test=none {options}")
    assert result.code == 0, result.err
    run = here / "runs" / "mine"
    assert [line["step"] for line in read_lines(run / "metrics.jsonl", "StepDone")] == [1, 2, 3, 4]
    losses = [line["loss"] for line in read_lines(run / "metrics.jsonl", "Validated")]
    assert losses[-1] < losses[0]
    result = burnish("generate mine hello --max-new-tokens 4")
    assert result.code == 0, result.err
    result = burnish("evaluate mine --answers 0 --json")
    assert result.code == 0, result.err
    (figure,) = [figure for figure in result.json["figures"] if figure["name"] == "loss"]
    assert figure["tuned"]["value"] == pytest.approx(min(losses[1:]), rel=1e-3)
    assert figure["base"]["value"] == pytest.approx(losses[0], rel=1e-3)


def step_losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(run / "metrics.jsonl", "StepDone")]


def test_gradient_checkpointing_changes_nothing(runs: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"train {rows_file} --model {base} --name mine {SHORT} --set train.gradient_checkpointing=true")
    assert result.code == 0, result.err
    assert step_losses(runs / "mine") == pytest.approx(step_losses(runs / "whole"), rel=1e-5)


def test_bf16_on_the_cpu_is_near(runs: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"train {rows_file} --model {base} --name mine {SHORT} --set model.precision=bf16")
    assert result.code == 0, result.err
    assert step_losses(runs / "mine") == pytest.approx(step_losses(runs / "whole"), rel=0.03)
    assert step_losses(runs / "mine") != step_losses(runs / "whole")
    assert read_lines(runs / "mine" / "events.jsonl", "ModelReady")[0]["precision"] == "bf16"


def test_packing_can_be_turned_off(here: Path, tiny_tokenizer: Any, rows_file: Path, burnish: Burnish) -> None:
    """Both see the same tokens, in rows of several examples or of one; what is held out is evaluated alike."""
    wide = make_network("llama", len(tiny_tokenizer), max_position_embeddings=256)
    save_model(here / "wide", wide, tiny_tokenizer)
    ready, losses = {}, {}
    for packing in ("true", "false"):
        result = burnish(f"train {rows_file} --model ./wide --name {packing} {SHORT} --set data.packing={packing}")
        assert result.code == 0, result.err
        (ready[packing],) = read_lines(here / "runs" / packing / "events.jsonl", "DataReady")
        losses[packing] = read_lines(here / "runs" / packing / "metrics.jsonl", "Validated")[0]["loss"]
    assert ready["false"]["packed_rows"] == ready["false"]["training_rows"] == 24
    assert ready["true"]["packed_rows"] <= 8
    assert ready["true"]["tokens"] == ready["false"]["tokens"]
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-5)


@pytest.mark.slow
def test_validation_is_even_and_at_least_five_times(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"train {rows_file} --model {base} --name mine --set train.max_steps=23 --set train.epochs=50")
    assert result.code == 0, result.err
    steps = [line["step"] for line in read_lines(here / "runs/mine/metrics.jsonl", "Validated")]
    assert len(steps) >= 6
    assert steps[0] == 0
    assert steps[-1] == 23
    assert len({later - earlier for earlier, later in zip(steps[:-2], steps[1:-1], strict=True)}) == 1


@pytest.mark.parametrize(
    "words",
    [
        "train ROWS --model BASE --name mine " + SHORT,
        "resume stopped",
        "evaluate whole",
        "evaluate whole ROWS --answers 2",
        "generate whole hello --max-new-tokens 3",
        "chat whole --max-new-tokens 3",
        "show whole",
        "show stopped",
        "runs",
        "show nothing",
    ],
)
def test_json_is_one_object_and_nothing_else(
    words: str, runs: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    result = burnish(words.replace("BASE", str(base)).replace("ROWS", str(rows_file)) + " --json", stdin="hello\n")
    assert isinstance(result.json, dict)
    assert result.out.count("\n") == 1
    assert result.err == ""
    assert ("error" in result.json) == (result.code != 0) == (words == "show nothing")


@pytest.mark.parametrize(
    "words",
    [
        "train ROWS --model BASE --name mine " + SHORT,
        "train ROWS --model BASE --name mine --verbose " + SHORT,
        "resume stopped",
        "evaluate whole --answers 0",
        "show whole",
        "show stopped",
        "runs",
        "runs --verbose",
        "plan ROWS --model BASE --set train.max_steps=2 " + EXACT,
        pytest.param("plan --model Llama-2-7b --method lora --on A100-80GB", marks=pytest.mark.slow),
        pytest.param("plan --table", marks=pytest.mark.slow),
        "check ROWS --model BASE",
    ],
)
def test_what_a_command_shows(
    words: str,
    runs: Path,
    base: Path,
    rows_file: Path,
    burnish: Burnish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "empty"))  # times that other tests measured would show
    result = burnish(words.replace("BASE", str(base)).replace("ROWS", str(rows_file)))
    assert result.code == 0, result.err
    assert "\x1b" not in result.out + result.err
    names = {str(base): "BASE", base.name: "BASE", str(rows_file): "ROWS", "./": ""}
    check_snapshot(f"e2e/test_commands::{words.replace(SHORT, '').replace(EXACT, '')}", screen(result, names))


def test_quiet_leaves_the_bare_result_and_warnings(runs: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"train {rows_file} --model {base} --name mine {SHORT} --set evaluate.every=4 --quiet")
    assert (result.code, result.out, result.err) == (0, "runs/mine\n", "")
    result = burnish("resume stopped --quiet")
    assert (result.code, result.out) == (0, "runs/stopped\n")
    (line,) = result.err.splitlines()
    assert line.startswith("warning: underfitting: ")
    result = burnish("runs --quiet")
    assert (result.code, sorted(result.out.split()), result.err) == (0, ["mine", "stopped", "whole"], "")
