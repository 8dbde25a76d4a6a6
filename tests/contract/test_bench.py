"""The pages that the benches write into: every command that stands there is one, and finds the place of its text."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PAGE = "before\n<!-- one: begin -->\nold\n<!-- one: end -->\nafter\n<!-- two: begin -->\n"
TWICE = "<!-- four: begin -->\n<!-- four: end -->\n"

Load = Callable[[str], Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a module of the benches as they import each other."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def commands(page: Path) -> list[list[str]]:
    """The commands that a page names, from `bench/…` on."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(found) for found in re.findall(r"python (bench/[^`\n]+)", text)]


def places(page: Path) -> list[str]:
    """Names of the texts that are written into a page."""
    return re.findall(r"^<!-- (.+): begin -->$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_text_takes_the_place_of_the_one_before(load: Load, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    load("page").write_between(page, "one", "new")
    assert page.read_text(encoding="utf-8") == PAGE.replace("old", "new")


@pytest.mark.parametrize("name", ["two", "three", "four"])
def test_without_both_markers_once_nothing_is_written(load: Load, tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE + 2 * TWICE, encoding="utf-8")
    with pytest.raises(SystemExit, match=f"no place for `{name}`(.|\n)*Write both lines"):
        load("page").write_between(page, name, "new")
    assert page.read_text(encoding="utf-8") == PAGE + 2 * TWICE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_markers_come_in_pairs(page: Path) -> None:
    text, names = page.read_text(encoding="utf-8"), places(page)
    assert re.findall(r"^<!-- (.+): end -->$", text, re.MULTILINE) == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_name_benches_and_their_options(page: Path) -> None:
    for script, *arguments in commands(page):
        source = (ROOT / script).read_text(encoding="utf-8")
        for option in arguments:
            assert not option.startswith("--") or f'"{option}"' in source, f"{script} has no {option}"


def test_every_comparison_has_its_place(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    peers, page = load("peers"), ROOT / "docs" / "performance.md"
    names = []
    for command in commands(page):
        if command[0] == "bench/peers.py":
            monkeypatch.setattr("sys.argv", command)
            names.append(peers.name_of(peers.read_options()))
    compared = [name for name in places(page) if name.startswith(("smollm2-", "gpt2-", "llama-"))]
    assert names == compared
    assert len(compared) > 5


def test_short_texts_are_cut_reproducibly(load: Load) -> None:
    class Characters:
        """A tokenizer of single characters."""

        def __call__(self, text: str) -> Any:
            return type("Encoded", (), {"input_ids": [ord(letter) for letter in text]})

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    paragraphs = ["".join(chr(65 + (row + column) % 26) for column in range(400)) for row in range(20)]
    whole = "\n".join([" = A heading that is as long as a line of text would have to be = = = =", "short", *paragraphs])
    cut = load("texts").cut_text
    texts = cut(whole, Characters())
    assert texts == cut(whole, Characters())
    assert sum(map(len, texts)) > 0.9 * 20 * 400
    assert {len(text) for text in texts} <= set(range(8, 121))
    assert all(any(text in paragraph for paragraph in paragraphs) for text in texts)


def test_steps_are_whole(load: Load, tmp_path: Path) -> None:
    settings = load("settings")
    others = {"task": "text", "method": "lora", "device": "cpu", "rank": 8, "targets": ["x"]}
    rows = [{"text": str(number)} for number in range(100)]
    file = settings.write_settings(tmp_path, rows, [40] * 100, 1024, learning_rate=1e-3, context=64, **others)
    result = settings.read_settings(file)
    assert (result.step_rows, result.step_tokens, result.tokens) == (24, 960, 96 * 40)
    assert result.examples() == rows[:96]


def test_a_loss_that_is_off_is_found(load: Load) -> None:
    far_apart = load("peers").far_apart
    assert far_apart({"one": 2.0, "two": 2.1, "three": 2.19}, 3.0, 0.2) == set()
    assert far_apart({"one": 2.0, "two": 2.1, "three": 2.29}, 3.0, 0.2) == {"three"}
    assert far_apart({"one": 2.0, "two": 2.1, "three": float("nan")}, 3.0, 0.2) == {"three"}


def conversation(number: int, answer: str = "yes") -> dict[str, Any]:
    """A row as `bench/outcome_rows.py` writes it."""
    prompt = [{"role": "user", "content": f"question {number}"}]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}


@pytest.mark.parametrize("test", [None, [conversation(number) for number in range(190, 260)]])
def test_splits_of_an_outcome_have_no_prompt_in_common(load: Load, test: list[dict[str, Any]] | None) -> None:
    split = load("outcome_rows").split
    rows = [conversation(number % 200, str(number)) for number in range(300)]
    splits = split(rows, test, None, 1000, 0)
    prompts = {name: [row["prompt"][0]["content"] for row in part] for name, part in splits.items()}
    together = [prompt for part in prompts.values() for prompt in part]
    assert len(together) == len(set(together)) == (200 if test is None else 260)
    assert {name: len(part) for name, part in splits.items()} == (
        {"train": 170, "validation": 10, "test": 20} if test is None else {"train": 180, "validation": 10, "test": 70}
    ), "of rows with the same prompt one is kept, and a prompt of the test rows is not trained on"
    assert all(int(row["completion"][0]["content"]) < 200 for row in splits["train"])


def test_splits_of_an_outcome_depend_on_the_seed_alone(load: Load) -> None:
    split = load("outcome_rows").split
    rows = [conversation(number) for number in range(200)]
    whole, few = split(rows, None, None, 1000, 0), split(rows, None, 17, 5, 0)
    assert split(rows, None, None, 1000, 0) == whole
    assert split(rows, None, None, 1000, 1)["test"] != whole["test"]
    assert few == {"train": whole["train"][:17], "validation": whole["validation"][:1], "test": whole["test"][:5]}


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("So 3 + 4 = <<3+4=7>>7.\n#### 7", "7"),
        ("#### 1,234,567", "1234567"),
        ("#### $72.50 in all\n#### 3", "72.50"),
        ("#### -12", "-12"),
        ("She has 10-3 left, which is 7.", "7"),
        ("10 - 3 is 7, and 7-3", "3"),
        ("It takes 2 hours.\n####", "2"),
        ("The answer is .5", "0.5"),
        ("A list: 1,2,3", "3"),
        ("It is -$5", "-5"),
        ("It is \u22125", "-5"),
        ("none", None),
        ("", None),
    ],
)
def test_final_number_of_an_answer(load: Load, answer: str, number: str | None) -> None:
    found = load("outcome_rows").final_number(answer)
    assert found == (None if number is None else Decimal(number))


def evaluation(losses: list[float], given: list[str]) -> dict[str, Any]:
    """What `bench/outcome_evaluation.py` prints, of rows with ten tokens each."""
    return {
        "sums": losses,
        "counts": [10] * len(losses),
        "expected": [f"so\n#### {number}" for number in range(len(given))],
        "given": given,
        "most_tokens": 64,
    }


def outcome_measures(load: Load, has_numbers: bool) -> dict[str, Any]:
    """Metrics of four models, of which Burnish's is the best."""
    answers = {
        "base": ["#### 9"] * 20,
        "burnish": [f"#### {number}" for number in range(20)],
        "trl": [f"it is {number}" for number in range(20)],
        "trl-on-the-way": ["none"] * 20,
    }
    losses = {"base": 20.0, "burnish": 10.0, "trl": 12.0, "trl-on-the-way": 15.0}
    return {
        name: load("outcome").measures(
            evaluation([losses[name] + number % 3 for number in range(20)], given), has_numbers
        )
        for name, given in answers.items()
    }


def test_table_of_an_outcome_compares_every_model_by_row(load: Load) -> None:
    lines = load("outcome").metric_lines(outcome_measures(load, has_numbers=True))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    metrics, models = ("loss of the known answers, nats a token", "right final numbers"), load("outcome").NAMES.values()
    firsts = [[metric if model == "base" else "", model] for metric in metrics for model in models]
    assert [row[:2] for row in cells] == firsts
    assert cells[0][2].startswith("2.095 [") and cells[0][3:] == ["", ""]
    assert cells[1][3] == "-1.000 [-1.000, -1.000]" and cells[1][4] == "", "each row has changed by as much"
    assert cells[2][4] == "-0.200 [-0.200, -0.200]"
    assert cells[5][3].startswith("+95.0 points [")
    assert cells[4][2].startswith("5.0 % [") and cells[5][2].startswith("100.0 % [")
    assert cells[6][4].startswith("0.0 points [") and cells[7][4].startswith("+100.0 points [")


def test_answers_without_a_final_number_are_compared_as_texts(load: Load) -> None:
    found = outcome_measures(load, has_numbers=False)
    assert [one.name for one in found["base"]] == ["loss", "exact match", "ROUGE-L"]


def test_an_outcome_takes_no_results_of_other_settings(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = load("outcome")
    real, files, out = tmp_path / "real", tmp_path / "files", tmp_path / "out"
    for folder in (real / "smollm2", files / "instruction_1100"):
        folder.mkdir(parents=True)
    (real / "smollm2" / "config.json").write_text("{}", encoding="utf-8")
    rows = [{"instruction": f"question {number}", "input": "", "output": "yes"} for number in range(100)]
    (files / "instruction_1100" / "instruction-data.json").write_text(json.dumps(rows), encoding="utf-8")
    for number, code in ((20, None), (20, None), (30, 2)):
        monkeypatch.setattr("sys.argv", ["x", str(real), str(files), "--rows", str(number), "--out", str(out)])
        options = outcome.read_options()
        if code is None:
            outcome.prepare(options, options.out)
            assert len(load("outcome_rows").read_split(out, "train")) == 20
        else:
            with pytest.raises(SystemExit) as ended:
                outcome.prepare(options, options.out)
            assert ended.value.code == code
    assert "Name another folder by `--out`" in capsys.readouterr().err


def test_memory_of_another_process_is_its_highest(load: Load, tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc")
    run_metered, output = load("meter").run_metered, tmp_path / "output"
    code = "import time; a = bytearray(200 * 2**20); time.sleep(0.5); del a; time.sleep(0.3); print(7)"
    seconds, peak = run_metered([sys.executable, "-c", code], output)
    assert output.read_text(encoding="utf-8") == "7\n"
    assert seconds > 0.8 and 200 * 2**20 < peak < 400 * 2**20
    with pytest.raises(SystemExit, match="no such thing"):
        run_metered([sys.executable, "-c", "raise ValueError('no such thing')"], output)
