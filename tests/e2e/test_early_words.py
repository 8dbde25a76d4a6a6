"""What is known at the start is said at the start: before torch is imported, which alone takes seconds.

All commands run in one process, one after another: the first that imports torch fails, and so would all after it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.commands.train import check_first
from burnish.cli.console import Console, Output
from burnish.cli.progress import Progress
from burnish.prepare.idle import idle_options
from burnish.recipe.load import load_recipe

COMMANDS = {
    "name taken": "train rows.jsonl --name whole",
    "name that is none": "train rows.jsonl --name a/b",
    "name reserved on Windows": "train rows.jsonl --name nul",
    "runs below a file": "train rows.jsonl --runs rows.jsonl --name mine",
    "runs not writable": "train rows.jsonl --runs /proc/none --name mine",
    "runs not writable, no name": "train rows.jsonl --runs /proc/none",
    "rows missing": "train missing.jsonl",
    "validation rows missing": "train rows.jsonl --set data.validation=missing.jsonl",
    "model missing": "train rows.jsonl --model ./nowhere",
    "model folder without a model": "train rows.jsonl --model runs",
    "model neither here nor cached": "train rows.jsonl --model no-such/model",
    "no such method": "train rows.jsonl --method lore",
    "no such task": "train rows.jsonl --task talk",
    "metric missing": "train rows.jsonl --set evaluate.metric=nowhere:score",
    "general texts missing": "train rows.jsonl --set evaluate.general=missing.txt",
    "quickstart below a file": "quickstart --runs rows.jsonl",
    "check: rows missing": "check missing.jsonl",
    "check: cleaned file exists": "check rows.jsonl --fix rows.jsonl",
    "plan: rows missing": "plan missing.jsonl",
    "selftest: model missing": "selftest --model ./nowhere",
    "resume: no such run": "resume nowhere",
    "resume: finished": "resume whole",
    "merge: no result": "merge stopped",
    "merge: target exists": "merge whole --out runs",
    "merge: no folder for it": "merge whole --out nowhere/merged",
    "eject: target exists": "eject whole --out rows.jsonl",
    "evaluate: no result": "evaluate stopped",
    "evaluate: rows missing": "evaluate whole missing.jsonl",
    "compare: no result": "compare whole stopped",
    "compare: rows missing": "compare whole whole --data missing.jsonl",
    "report: target is a folder": "report whole --out runs",
    "reproduce: no such run": "reproduce nowhere",
    "generate: no such run": "generate nowhere hello",
    "chat: no such run": "chat nowhere",
}
_EACH = """
import json, shlex, sys
from burnish.cli.main import main
for name, words in json.load(sys.stdin).items():
    code = main(shlex.split(words))
    print(json.dumps([name, code, "torch" in sys.modules]), flush=True)
"""


def test_mistakes_are_found_before_torch_is_imported(runs: Path, here: Path, rows_file: Path) -> None:
    (here / "rows.jsonl").write_bytes(rows_file.read_bytes())
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _EACH],
        cwd=here,
        env={**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1"},
        input=json.dumps(COMMANDS),
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[Any] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [name for name, code, _ in found if code not in (2, 3)] == [], done.stderr[-3000:]
    assert [name for name, *_ in found] == list(COMMANDS), done.stderr[-3000:]
    assert [name for name, *_, has_torch in found if has_torch][:1] == []
    assert "Traceback" not in done.stderr
    assert "unexpected failure" not in done.stderr


IDLE = {
    ("--method full", "lora.rank=4"): "the method is `full`",
    ("--method lora", "freeze.blocks=1"): "the method is `lora`",
    ("--task chat", "tag.scheme=plain"): "the task is `chat`",
    ("", "preference.loss=dpo preference.margin=2"): "`preference.loss` is `dpo`",
    ("", "preference.loss=kto preference.label_smoothing=0.1"): "`preference.loss` is `kto`",
    ("", "train.early_stopping=false train.patience=3"): "`train.early_stopping` is `false`",
    ("", "data.validation=rows.jsonl data.validation_rows=3"): "`data.validation` is `rows.jsonl`",
    ("", "evaluate.general=none evaluate.general_tokens=500"): "no texts outside the task",
    ("", "span.unanswerable=false span.no_answer_margin=1"): "`span.unanswerable` is `false`",
}


@pytest.mark.parametrize(("flags", "sets"), IDLE)
def test_options_that_do_nothing_are_named_at_once(
    flags: str, sets: str, here: Path, rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "rows.jsonl").write_bytes(rows_file.read_bytes())
    named = {word.removeprefix("--"): value for word, value in zip(*[iter(flags.split())] * 2, strict=True)}
    loaded = load_recipe("rows.jsonl", named, sets.split())
    with Progress(Console(Output())) as progress:
        check_first(loaded, progress)
        check_first(loaded, progress)
    shown = capsys.readouterr().err.replace(str(here) + "/", "")
    option = sets.split()[-1].partition("=")[0]
    assert shown.count(f"warning: `{option}` has no effect: {IDLE[flags, sets]}") == 1, "once, also where found again"
    assert progress.num_warnings == 1


def test_options_with_an_effect_are_not_named(rows_file: Path) -> None:
    given = [
        "preference.loss=simpo",
        "preference.margin=2",
        "train.patience=3",
        "data.validation_rows=3",
        "lora.rank=4",
    ]
    loaded = load_recipe(str(rows_file), {"method": "lora", "task": "preference"}, given)
    assert idle_options(loaded.recipe, loaded.origins) == {}
    unknown = load_recipe(str(rows_file), {}, ["lora.rank=4", "tag.scheme=plain", "preference.margin=2"])
    assert idle_options(unknown.recipe, unknown.origins) == {}, "what `auto` will become is not known yet"


def test_the_sections_of_tasks_and_methods_are_theirs() -> None:
    from burnish.methods import least_copies, make_method, method_names, method_sections
    from burnish.tasks import task_facts, task_names, task_sections

    for name in method_names():
        method = make_method(name)
        assert set(method_sections(name)) == set(method.sections)
        assert (least_copies(name) > 0) == method.trains_base
    assert least_copies("auto") == 0
    for name in task_names():
        assert set(task_sections(name)) == set(task_facts(name).sections)
