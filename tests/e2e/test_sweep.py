"""`burnish sweep`: runs as `train` makes them, ranked on validation rows; the best alone is evaluated."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.errors import Interrupted
from burnish.runs.event_log import read_events
from burnish.runs.events import Stage, StepDone, Warned
from tests.e2e.conftest import BRIEF, EXACT, Burnish
from tests.tiny_classifiers import reviews
from tests.tiny_data import write_rows

VALID = 20
OPTIONS: dict[str, Any] = {"max_steps": 6, "epochs": 20, "precision": "fp32", "device": "cpu"}
SHARED = {"batch.tokens": 256, "evaluate.answers": 0, "evaluate.general": "none", "evaluate.every": 2}
OVER = {"train.learning_rate": [1e-4, 0.02], "lora.rank": [4, 8]}
NAMES = [f"learning_rate-{rate}-rank-{rank}" for rate in ("0.0001", "0.02") for rank in (4, 8)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with a validation file of their own."""
    folder = tmp_path_factory.mktemp("rows")
    lines = write_rows(folder / "all.jsonl", 40 + VALID).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "rows").mkdir()
    (folder / "rows" / "train.jsonl").write_text("".join(lines[VALID:]), encoding="utf-8")
    (folder / "rows" / "valid.jsonl").write_text("".join(lines[:VALID]), encoding="utf-8")
    return folder / "rows"


def words(rows: Path, base: Path, over: str, more: str = "") -> str:
    """A sweep as a command."""
    steps = "--set train.max_steps=6 --set train.epochs=20 --set batch.tokens=256 --set evaluate.every=2"
    short = f"{EXACT} {steps} {BRIEF}"
    return f"sweep {rows} --model {base} --method lora {short} {over} {more}"


@pytest.fixture(scope="module")
def swept(rows: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep of four runs."""
    runs = tmp_path_factory.mktemp("swept")
    done = burnish_api.sweep(rows, model=base, method="lora", over=OVER, runs=runs, set=SHARED, name="all", **OPTIONS)
    return done.path


def results(run: Path) -> dict[str, bytes]:
    """The trained weights of a run."""
    return {file.name: file.read_bytes() for part in ("adapter", "model") for file in run.glob(f"{part}/*.safetensors")}


def course(run: Path) -> list[Any]:
    """What a run computed, step by step."""
    kept = ("step", "loss", "learning_rate", "gradient_norm", "figures", "is_best")
    return [{key: line[key] for key in kept if key in line} for line in read_events(run / "metrics.jsonl")]


@pytest.mark.parametrize(
    ("name", "rate", "rank"),
    [
        pytest.param("learning_rate-0.0001-rank-4", 1e-4, 4, marks=pytest.mark.slow),
        ("learning_rate-0.02-rank-8", 0.02, 8),
    ],
)
def test_each_run_is_the_one_that_train_makes(
    swept: Path, rows: Path, base: Path, tmp_path: Path, name: str, rate: float, rank: int
) -> None:
    alone = burnish_api.train(
        rows, model=base, method="lora", learning_rate=rate, rank=rank, runs=tmp_path, set=SHARED, **OPTIONS
    )
    assert course(swept / name) == course(alone.path)
    assert results(swept / name) == results(alone.path) != {}
    saved = [dict(burnish_api.load_run(path).summary["recipe"]) for path in (swept / name, alone.path)]
    assert [recipe | {"name": "", "runs": ""} for recipe in saved] == 2 * [saved[1] | {"name": "", "runs": ""}]


CASES = {
    "full": ({"method": "full"}, {"train.learning_rate": [1e-3, 2e-3]}, "prompts"),
    "seeds": ({"method": "lora", "lora.dropout": 0.3}, {"lora.rank": [2, 4]}, "prompts"),
    "method": ({}, {"method": ["lora", "full", "freeze"]}, "prompts"),
    "dpo": ({"method": "lora"}, {"preference.beta": [0.1, 0.5], "batch.tokens": [200, 400]}, "pairs"),
    "classify": ({"method": "lora"}, {"train.weight_decay": [0.0, 0.5]}, "labels"),
}


@pytest.fixture(scope="module")
def data(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Rows of several kinds."""
    folder = tmp_path_factory.mktemp("data")
    pairs = [
        {"prompt": f"Say {n}", "chosen": f"Yes, {n} it is.", "rejected": f"No {n}" + " no" * (n % 4)} for n in range(90)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    labels = [{"text": text, "label": label} for text, label in reviews(120)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labels), encoding="utf-8")
    return {"prompts": rows, "pairs": folder / "pairs.jsonl", "labels": folder / "labels.jsonl"}


"""The case of every run of the tests: a new head, of which the copy has its own."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_shared_base_is_as_freshly_loaded(case: str, data: Mapping[str, Path], base: Path, tmp_path: Path) -> None:
    fixed, over, kind = CASES[case]
    seeds = 2 if case == "seeds" else 1
    options = {**OPTIONS, "max_steps": 3, "model": base}
    shared = {**SHARED, "data.validation_fraction": 0.2, **fixed}
    shared = {name: value for name, value in shared.items() if name not in over}
    done = burnish_api.sweep(data[kind], over=over, seeds=seeds, runs=tmp_path / "swept", set=shared, **options)
    for run in done.state.runs:
        chosen = {**shared, **run.setting, "seed": run.seed, "name": run.name}
        alone = burnish_api.train(data[kind], runs=tmp_path / "alone", set=chosen, **options)
        assert course(done.path / run.name) == course(alone.path), run.name
        assert results(done.path / run.name) == results(alone.path) != {}, run.name


def test_the_table_and_the_winner(swept: Path) -> None:
    state = json.loads((swept / "sweep.json").read_text(encoding="utf-8"))
    assert [run["name"] for run in state["runs"]] == NAMES
    ranking = state["ranking"]
    assert (ranking["metric"], ranking["rows"], ranking["num_pairs"]) == ("loss", VALID, 6)
    assert [one["rank"] for one in ranking["settings"]] == [1, 2, 3, 4]
    values = [one["value"]["value"] for one in ranking["settings"]]
    assert values == sorted(values)
    best = ranking["settings"][0]
    assert (best["change"], best["setting"]["train.learning_rate"]) == (None, 0.02)
    assert all(one["change"]["value"] > 0 for one in ranking["settings"][1:])
    for one in ranking["settings"]:
        validations = [line for line in read_events(swept / one["name"] / "metrics.jsonl") if "figures" in line]
        (kept,) = [run["step"] for run in state["runs"] if run["name"] == one["name"]]
        (loss,) = [line["loss"] for line in validations if line["step"] == kept]
        assert one["value"]["value"] == pytest.approx(loss, rel=1e-6)
    assert state["winner"] == best["runs"][0]
    assert state["is_finished"] is True


def test_the_winner_alone_is_evaluated(swept: Path, burnish: Burnish, tmp_path: Path) -> None:
    winner = json.loads((swept / "sweep.json").read_text(encoding="utf-8"))["winner"]
    evaluated = [name for name in NAMES if (swept / name / "evaluation.json").exists()]
    assert evaluated == [winner]
    assert "sweep" not in (swept / winner / "report.html").read_text(encoding="utf-8").split("<section")[0]
    loser = NAMES[0]
    page = " ".join((swept / loser / "report.html").read_text(encoding="utf-8").split())
    assert "The sweep `all` ranked this setting" in page
    assert f"burnish evaluate {swept / loser}" in page
    copy = shutil.copytree(swept / loser, tmp_path / "loser")
    assert burnish(f"evaluate {copy} --answers 0").code == 0
    assert (copy / "evaluation.json").is_file()
    assert "The sweep `all`" not in (copy / "report.html").read_text(encoding="utf-8")


def test_runs_of_a_sweep_are_ordinary_runs(swept: Path, burnish: Burnish) -> None:
    assert burnish(f"generate {swept / NAMES[1]} hello --max-new-tokens 2").code == 0
    shown = burnish(f"show {swept / NAMES[0]} --json").json
    assert (shown["state"], shown["seconds"] > 0, shown["validation_loss_before"] > 0) == ("finished", True, True)
    listed = burnish(f"runs --runs {swept} --json").json["runs"]
    assert sorted(run["name"] for run in listed) == sorted(NAMES)


def test_sweeps_are_listed_below_the_runs(swept: Path, burnish: Burnish, tmp_path: Path) -> None:
    said = " ".join(burnish(f"runs --runs {swept.parent}").out.split())
    winner = json.loads((swept / "sweep.json").read_text(encoding="utf-8"))["winner"]
    assert f"The sweep `all` has {len(NAMES)} runs; its winner is `{winner}`." in said
    assert f"`burnish runs --runs {swept}`" in said
    (listed,) = burnish(f"runs --runs {swept.parent} --json").json["sweeps"]
    assert (listed["name"], listed["runs"], listed["done"], listed["winner"]) == ("all", len(NAMES), len(NAMES), winner)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sweep.json").write_text("{", encoding="utf-8")
    result = burnish(f"runs --runs {tmp_path}")
    assert result.code == 0
    assert "The sweep `broken` is damaged" in " ".join(result.out.split())
    refused = burnish(f"resume {swept / NAMES[0]}")
    assert (refused.code, "is finished" in refused.what) == (2, True)


def stop_in(run: str, step: int) -> Callable[[Any], None]:
    """A listener that presses Ctrl-C after a step of one of the runs."""
    current = [""]

    def listen(event: Any) -> None:
        if isinstance(event, Stage) and ": " in event.name:
            current[0] = event.name.partition(": ")[2]
        if isinstance(event, StepDone) and event.step == step and current[0] == run:
            os.kill(os.getpid(), signal.SIGINT)

    return listen


@pytest.fixture(scope="module")
def stopped(rows: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep as `swept`, stopped in its second run."""
    runs = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Interrupted) as raised:
        burnish_api.sweep(
            rows,
            model=base,
            method="lora",
            over=OVER,
            runs=runs,
            set=SHARED,
            name="all",
            listeners=[stop_in(NAMES[1], 3)],
            **OPTIONS,
        )
    assert raised.value.what == f"stopped in run 2 of 4, `{NAMES[1]}`; the state is saved"
    assert raised.value.fix == "Give the same command again to go on from there"
    return runs / "all"


def test_the_same_call_goes_on_with_what_is_missing(stopped: Path, swept: Path, rows: Path, base: Path) -> None:
    done = read_events(stopped / NAMES[0] / "events.jsonl")
    assert json.loads((stopped / "sweep.json").read_text(encoding="utf-8"))["ranking"] is None
    assert [(stopped / name / "adapter").is_dir() for name in NAMES] == [True, False, False, False]
    steps: list[int] = []

    def count(event: Any) -> None:
        if isinstance(event, StepDone):
            steps.append(event.step)

    def again() -> Any:
        return burnish_api.sweep(
            rows,
            model=base,
            method="lora",
            over=OVER,
            runs=stopped.parent,
            set=SHARED,
            name="all",
            listeners=[count],
            **OPTIONS,
        )

    finished = again()
    assert steps == [4, 5, 6, *2 * list(range(1, 7))]
    assert [event for event in read_events(stopped / NAMES[0] / "events.jsonl") if event["event"] != "Ranked"] == done
    for name in NAMES:
        assert results(stopped / name) == results(swept / name)
        assert course(stopped / name) == course(swept / name)
    before = json.loads((swept / "sweep.json").read_text(encoding="utf-8"))["ranking"]
    assert finished.winner.name == before["settings"][0]["runs"][0]
    for one, other in zip(finished.ranking["settings"], before["settings"], strict=True):
        assert one["name"] == other["name"]
        assert one["value"] == pytest.approx(other["value"], rel=1e-4)
    steps.clear()
    assert again().ranking == finished.ranking
    assert steps == []


@pytest.mark.parametrize(
    ("over", "more", "what", "hint"),
    [
        ("", "", "a sweep needs options to try", "For example `--over train.learning_rate=1e-4,3e-4`"),
        (
            "--over train.lerning_rate=1,2",
            "",
            "`train.lerning_rate` is not an option (--over)",
            "Did you mean `train.le",
        ),
        ("--over train.epochs", "", "`--over train.epochs` has no values", "For example"),
        (
            "--over train.epochs=2",
            "",
            "`train.epochs` has one value, `2`, so there is nothing to choose",
            "--set train",
        ),
        ("--over lora.rank=8,8", "", "`lora.rank` has the value `8` twice", ""),
        ("--over lora.rank=8,-2", "", "`lora.rank` cannot be `-2`", "It takes `auto` or a whole number of at least 1"),
        ("--over lora.rank=4,8 --over lora.rank=2,3", "", "`lora.rank` is swept twice", "Name all of its values"),
        (
            "--over train.epochs=1..3",
            "",
            "`train.epochs=1..3` is a range, from which `--trials` would ch",
            "--trials 12",
        ),
        ("--over train.epochs=3..1", "--trials 4", "`train.epochs=3..1` is not a range: its first number", ""),
        ("--over seed=1,2", "", "`seed` cannot be swept: seeds are not settings to choose between; `--seeds 3`", ""),
        ("--over data.validation_fraction=0.1,0.2", "", "`data.validation_fraction` cannot be swept: the runs wou", ""),
        ("--over train.max_steps=2,3", "", "`train.max_steps` is given one value, and several by `--over`", "Leave"),
        ("--over lora.rank=4,8", "--method full", "`lora.rank` has no effect: the method is `full`", "Leave it out"),
        ("--over tag.scheme=IOB1,IOB2", "", "`tag.scheme` has no effect: the task is `chat`", "Leave it out"),
        ("--over train.patience=2,3", "--set train.early_stopping=false", "`train.patience` has no effect: `train", ""),
        ("--over lora.rank=16,auto", "", "`rank-16` and `rank-auto` are the same run", "Leave one of the two values"),
        ("--over lora.rank=4,8", "--seeds 0", "`--seeds 0` is too few", ""),
        ("--over lora.rank=4,8", "--trials 1", "`--trials 1` is too few", ""),
        ("--over lora.rank=4,8", "--name a/b", "`a/b` is not a valid run name", "Choose another with `--name`"),
        ("--over data.context=2,300", "", "`data.context` cannot be `2`", "It takes"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_trained(
    over: str, more: str, what: str, hint: str, rows: Path, base: Path, burnish: Burnish, here: Path
) -> None:
    method = "" if "--method" in more else "--method lora"
    result = burnish(words(rows, base, over, more).replace("--method lora", method))
    assert result.code == 2, result.err
    assert " ".join(result.what.split()).startswith(what)
    assert hint in " ".join(result.hint.split())
    assert list(here.iterdir()) == []


def test_too_few_validation_rows_are_refused(base: Path, burnish: Burnish, here: Path) -> None:
    few = write_rows(here / "few.jsonl", 50)
    result = burnish(words(few, base, "--over lora.rank=4,8", "--set data.validation_rows=5"))
    assert result.code == 2
    assert result.what == "a sweep ranks its runs on the validation rows, and this data has 5"
    assert "data.validation_fraction" in result.hint
    assert [path.name for path in here.iterdir()] == ["few.jsonl"]


def test_a_name_that_is_taken_by_another_sweep(swept: Path, rows: Path, base: Path, burnish: Burnish) -> None:
    result = burnish(words(rows, base, "--over lora.rank=2,3", f"--runs {swept.parent} --name all"))
    assert result.code == 2
    assert "already exists" in result.what
    assert "asked for something else: `lora.rank`" in " ".join(result.why.split())
    run = burnish(words(rows, base, "--over lora.rank=2,3", f"--runs {swept} --name {NAMES[0]}"))
    assert "It is not a sweep." in run.why


@pytest.mark.slow
def test_a_run_that_diverges_is_left_out(rows: Path, base: Path, here: Path) -> None:
    said: list[str] = []

    def listen(event: Any) -> None:
        if isinstance(event, Warned):
            said.append(event.text)

    done = burnish_api.sweep(
        rows,
        model=base,
        method="full",
        over={"learning_rate": [1e-3, 100.0]},
        listeners=[listen],
        set={**SHARED, "train.clip": 0.0, "train.weight_decay": 100.0},
        **OPTIONS,
    )
    assert [bool(run.failure) for run in done.state.runs] == [False, True]
    assert any("`learning_rate-100` is left out of the ranking: the loss became" in text for text in said)
    assert [one["name"] for one in done.ranking["settings"]] == ["learning_rate-0.001"]
    assert "failed" in done.ranking["remarks"][0]
    assert done.winner.evaluation is not None


@pytest.mark.slow
def test_seeds_are_ranked_by_their_mean(rows: Path, base: Path, here: Path) -> None:
    done = burnish_api.sweep(
        rows, model=base, method="lora", over={"learning_rate": [1e-3, 0.02]}, seeds=2, set=SHARED, **OPTIONS
    )
    runs = {run.name: run for run in done.state.runs}
    assert [(run.name, run.seed) for run in runs.values()] == [
        (f"learning_rate-{rate}-seed-{seed}", seed) for rate in ("0.001", "0.02") for seed in (0, 1)
    ]
    assert done.ranking["noise"]["source"] == "seeds"
    for one in done.ranking["settings"]:
        assert one["value"]["value"] == pytest.approx(-sum(runs[name].score for name in one["runs"]) / 2)
    best = done.ranking["settings"][0]["runs"]
    assert done.winner.name == max(best, key=lambda name: runs[name].score)
