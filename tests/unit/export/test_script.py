"""Scripts of every kind of run are Python, say what they must, and hold no name that they do not define."""

from __future__ import annotations

import ast
import builtins
import symtable
from typing import Any

import pytest

from burnish.errors import InputError
from burnish.export.script import Ejected, check_ejectable, write_script
from burnish.methods import make_method, method_names
from burnish.recipe.schema import LoraSection, ModelSection, PreferenceSection, Recipe, TrainSection
from burnish.tasks import task_facts, task_names
from burnish.templates import one_line

KINDS: dict[str, dict[str, Any]] = {
    "chat": {"method": "lora"},
    "full": {"method": "full"},
    "qlora": {"method": "qlora"},
    "int8": {"method": "int8-lora"},
    "pairs": {"task": "preference", "method": "lora", "preference": PreferenceSection(loss="dpo", beta=0.1)},
    "full pairs": {"task": "preference", "method": "full", "preference": PreferenceSection(loss="ipo", beta=0.1)},
    "paged": {"method": "qlora", "train": TrainSection(learning_rate=1e-4, optimizer="paged-adamw-8bit")},
    "eight bits": {"method": "lora", "train": TrainSection(learning_rate=1e-4, optimizer="adamw-8bit")},
    "pissa": {"method": "lora", "lora": LoraSection(rank=4, alpha=8, init="pissa")},
}


def make_script(kind: str, **facts: Any) -> str:
    options: dict[str, Any] = {
        "task": "chat",
        "train": TrainSection(learning_rate=1e-4, optimizer="adamw"),
        "lora": LoraSection(rank=4, alpha=8),
        "model": ModelSection(name="tiny", precision="fp32"),
        "seed": 0,
        "packing": True,
        "preference": PreferenceSection(),
        **KINDS[kind],
    }
    known: dict[str, Any] = {
        "run": "mine",
        "base": 'a "base"',
        "rows_file": "eject_rows.jsonl",
        "device": "cpu",
        "pad_id": 0,
        "total_steps": 9,
        "kept_step": 7,
        "steps_per_epoch": 3,
        "rows_per_step": 4,
        "micro_rows": 2,
        "adapter": {"target_modules": ["q_proj"]},
        "cycles": [],
    }
    return write_script(Ejected(**{**options, **known, **facts}))


def check(**options: Any) -> None:
    """Refuses a run with these options."""
    asked = Recipe(**options)
    check_ejectable(asked.task, asked.method, asked.lora, asked.train, asked.optimization, asked.preference)


def free_names(text: str) -> set[str]:
    """Names that the script uses and neither defines nor imports."""
    found: set[str] = set()
    top = symtable.symtable(text, "script", "exec")
    defined = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        found |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() or table is top}
    return found - defined - set(dir(builtins)) - {"__file__", "__name__"}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_python_and_whole(kind: str) -> None:
    text = make_script(kind)
    ast.parse(text)
    assert free_names(text) == set()
    assert 'BASE = "a \\"base\\""' in text
    assert max(map(len, text.splitlines())) <= 120
    assert ("import LoraConfig" in text) == ("full" not in kind)
    assert ("DPOTrainer" in text) == ("pairs" in kind)
    assert ("ref_model=" in text) == (kind == "full pairs")
    assert ("BitsAndBytesConfig" in text) == (kind in ("qlora", "int8", "paged"))
    assert ("PagedAdamW8bit" in text) == (kind == "paged")
    assert ("path_initial_model_for_weight_conversion" in text) == (kind == "pissa")


UNSEEN = ["i\x00j", "k\u2028l\x85m\x0cn\ro", "\u202ep", "\x1b[2J", "half \ud83d", '"""\nimport os\n"""', "# q"]


@pytest.mark.parametrize("name", ['a"""b', "c\\N{BULLET}", 'd"', "e\\", "f\n'g'", "h`{{ i }}", *UNSEEN])
def test_names_of_runs_and_files_end_no_string(name: str) -> None:
    text = make_script("chat", run=name, rows_file=f"{name}_rows.jsonl", base=name)
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    assert (constants["BASE"], constants["ROWS_FILE"]) == (name, f"{name}_rows.jsonl")
    assert text.replace("\n", "").isprintable()
    assert one_line(name) in str(ast.get_docstring(ast.parse(text)))


def test_tasks_and_methods_say_what_can_be_repeated() -> None:
    assert {name for name in task_names() if task_facts(name).trainer} == {"text", "chat", "preference"}
    assert {name for name in method_names() if make_method(name).can_eject} == {"full", "lora", "qlora", "int8-lora"}
    assert {name: make_method(name).bits for name in method_names() if make_method(name).quantizes} == {
        "qlora": 4,
        "int8-lora": 8,
    }


def test_a_name_that_is_not_defined_is_found() -> None:
    assert free_names("import json\ndef f():\n    return json.loads(MISSING)\n") == {"MISSING"}


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"task": "tag", "method": "lora"}, "a run of the task `tag` cannot be ejected"),
        ({"task": "chat", "method": "prefix"}, "a run of the method `prefix` cannot be ejected"),
        (
            {"task": "preference", "method": "lora", "preference": PreferenceSection(loss="kto")},
            "a run with the loss `kto` cannot be ejected",
        ),
        (
            {"task": "preference", "method": "lora", "preference": PreferenceSection(loss="dpo", label_smoothing=0.1)},
            "a run with the loss `dpo` with `preference.label_smoothing` cannot be ejected",
        ),
        (
            {"task": "chat", "method": "lora", "lora": LoraSection(added_tokens=["<a>"])},
            "a run with `lora.added_tokens` cannot be ejected",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_in_three_parts(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError) as caught:
        check(**options)
    assert caught.value.what == what
    assert caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_one_is_let_pass(kind: str) -> None:
    check(**{"task": "chat", **KINDS[kind]})
