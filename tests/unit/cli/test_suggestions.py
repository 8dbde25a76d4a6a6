"""What a new user types first, used to other tools: it works, or is answered with the right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.cli.command import name_of
from burnish.cli.main import COMMANDS, main
from burnish.cli.suggestions import command_meant, flag_meant, names_elsewhere
from burnish.recipe.load import load_recipe

ALL_COMMANDS = {name_of(function): "" for group in COMMANDS.values() for function in group}

LIKELY_FLAGS = [
    ("--learning_rate 1e-4", "--learning-rate"),
    ("--num-train-epochs 3", "--epochs"),
    ("--num_train_epochs 3", "--epochs"),
    ("--n-epochs 3", "--epochs"),
    ("--epoch 3", "--epochs"),
    ("--per-device-train-batch-size 4", "--batch-size"),
    ("--micro-batch-size 4", "--batch-size"),
    ("--gradient-accumulation-steps 4", "--set batch.tokens=..."),
    ("--max-seq-length 512", "--context"),
    ("--cutoff-len 512", "--context"),
    ("--lora-r 8", "--set lora.rank=..."),
    ("--lora_alpha 16", "--set lora.alpha=..."),
    ("--rank 8", "--set lora.rank=..."),
    ("--load-in-4bit", "--method qlora"),
    ("--qlora", "--method qlora"),
    ("--use-lora", "--method lora"),
    ("--bf16", "--set model.precision=bf16"),
    ("--gradient-checkpointing", "--set train.gradient_checkpointing=true"),
    ("--model-name-or-path gpt2", "--model"),
    ("--base-model gpt2", "--model"),
    ("--output-dir out", "--runs"),
    ("--run-name mine", "--name"),
    ("--dataset rows.jsonl", "`burnish train DATA`"),
    ("--validation-file v.jsonl", "--set data.validation=..."),
    ("--warmup-ratio 0.1", "--set train.warmup=..."),
    ("--resume-from-checkpoint x", "burnish resume RUN"),
    ("--device cpu", "--set model.device"),
    ("--max-train-steps 5", "--max-steps"),
    ("--random-seed 5", "--seed"),
    ("--dry-run", "burnish plan"),
    ("--nproc-per-node 2", "--processes"),
]


@pytest.mark.parametrize(("typed", "meant"), LIKELY_FLAGS)
def test_a_likely_flag_is_answered_with_the_right_name(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "rows.jsonl", *typed.split()]) == 2
    hint = capsys.readouterr().err.splitlines()[-1]
    assert hint.startswith("hint: ")
    assert meant in hint


@pytest.mark.parametrize(
    ("typed", "option", "value"),
    [
        ("--epochs 3", "train.epochs", 3),
        ("--epochs auto", "train.epochs", "auto"),
        ("--lr 1e-4", "train.learning_rate", 1e-4),
        ("--learning-rate 2e-4", "train.learning_rate", 2e-4),
        ("--batch-size 4", "batch.rows", 4),
        ("--max-steps 7", "train.max_steps", 7),
        ("--seed 7", "seed", 7),
        ("--context 128", "data.context", 128),
    ],
)
def test_a_flag_is_another_way_to_write_an_option(
    typed: str, option: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def load(data: str, flags: dict[str, object], sets: list[str]) -> object:
        seen.update(flags)
        loaded = load_recipe(data, flags, sets)
        assert loaded.origins[option] == "flag"
        raise SystemExit(0)

    monkeypatch.setattr("burnish.recipe.load.load_recipe", load)
    with pytest.raises(SystemExit):
        main(["train", "rows.jsonl", *typed.split()])
    assert seen[option] == value


@pytest.mark.parametrize("typed", ["--epochs 2 --set train.epochs=2", "--set train.epochs=2 --epochs 3"])
def test_an_option_given_as_a_flag_and_by_set_is_refused(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rows.jsonl", *typed.split()]) == 2
    assert "`train.epochs` is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["--epochs two", "--lr 0", "--context 3", "--max-steps 0.5", "--batch-size no"])
def test_a_wrong_value_of_a_flag_is_refused_by_the_recipe(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rows.jsonl", *typed.split()]) == 2
    assert "cannot be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("finetune", "train"),
        ("fine-tune", "train"),
        ("sft", "train"),
        ("eval", "evaluate"),
        ("convert", "export"),
        ("quantize", "export"),
        ("ls", "runs"),
        ("continue", "resume"),
        ("validate", "check"),
        ("estimate", "plan"),
        ("hpo", "sweep"),
        ("server", "serve"),
        ("new", "init"),
        ("config", "options"),
        ("prompt", "generate"),
        ("version", "--version"),
        ("trian", "train"),
        ("glossary", "explain"),
    ],
)
def test_a_likely_command_is_answered_with_the_right_name(typed: str, meant: str) -> None:
    assert command_meant(typed, ALL_COMMANDS) == f"Did you mean `burnish {meant}`?"


@pytest.mark.parametrize("typed", ["inference", "infer", "predict", "batch-inference"])
def test_answering_in_batches_is_the_best_command_for_it_that_exists(typed: str) -> None:
    assert command_meant(typed, {"generate": "", "train": ""}) == "Did you mean `burnish generate`?"
    if typed != "predict":
        assert command_meant(typed, {"generate": "", "predict": ""}) == "Did you mean `burnish predict`?"


def test_a_command_is_also_found_by_what_it_does() -> None:
    assert command_meant("defects", {"check": "Find defects in data.", "plan": "Plan."}) == (
        "Did you mean `burnish check`?"
    )


@pytest.mark.parametrize(
    ("typed", "flags", "meant"),
    [
        ("--max_tokens", ["--max-new-tokens"], "--max-new-tokens"),
        ("--temp", ["--temperature"], "--temperature"),
        ("--system-prompt", ["--system"], "--system"),
        ("--trust_remote_code", ["--trust-remote-code"], "--trust-remote-code"),
    ],
)
def test_flags_of_commands_without_a_recipe(typed: str, flags: list[str], meant: str) -> None:
    assert flag_meant(typed, flags, takes_recipe=False) == f"Did you mean `{meant}`?"


def test_a_flag_that_the_command_lacks_is_not_named() -> None:
    assert flag_meant("--temp", ["--runs"], takes_recipe=False) == ""
    assert flag_meant("--lora-r", ["--runs"], takes_recipe=False) == ""


def test_other_tools_names_lead_somewhere_and_hide_nothing() -> None:
    later = {"predict", "studio", "push", "models"}
    known = {*ALL_COMMANDS, "--version", *later}
    for typed, meant in names_elsewhere()["commands"].items():
        assert typed not in set(ALL_COMMANDS) - {"predict"}
        assert {meant} if isinstance(meant, str) else set(meant) <= known


def test_options_are_found_by_name_by_other_names_and_by_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words, first in (("lr", "train.learning_rate"), ("max_seq_length", "data.context"), ("memorize", None)):
        code = main(["options", words, "--quiet"])
        found = capsys.readouterr().out.split()
        assert (code, found[:1]) == (0, [first]) if first else code in (0, 2)
    assert main(["options", "--quiet"]) == 0
    assert "lora.rank" in capsys.readouterr().out.split()
    assert main(["options", "xyzzy"]) == 2


def test_init_writes_a_recipe_that_loads_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "a{n}", "completion": "b{n}"}}\n' for n in range(30)), encoding="utf-8")
    assert main(["init", "rows.jsonl", "--epochs", "2", "--quiet"]) == 0
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    loaded = load_recipe("recipe.yaml", {}, [])
    recipe = loaded.recipe
    assert (recipe.task, recipe.model.name, recipe.train.epochs) == ("chat", "seedling", 2)
    assert Path(recipe.data.path) == rows
    assert loaded.origins["batch.tokens"] == "default"
    loose = "".join(
        f"{line.replace('# ', '', 1)}\n"
        for line in text.splitlines()
        if not line.lstrip().startswith("# ")
        or ": " in line
        and line.lstrip("# ").split(":")[0].replace("_", "").isalpha()
        and " " not in line.lstrip("# ").split(":")[0]
    )
    (tmp_path / "all.yaml").write_text(loose, encoding="utf-8")
    load_recipe("all.yaml", {}, [])  # every comment that is an option is one
    assert main(["init", "rows.jsonl"]) == 2, "nothing is overwritten"
