"""What a run leaves behind: a recipe that makes it again, a manifest, logs, and a result in a standard layout."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch
import yaml

from burnish.models.fingerprint import identity
from burnish.version import __version__
from tests.e2e.command_result import adapter_bytes, listing, read_lines
from tests.e2e.conftest import BRIEF, SHORT, Burnish


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_saved_recipe_is_complete_and_makes_the_run_again(
    method: str, here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    options = f"--set train.max_steps=3 --set model.device=cpu {BRIEF}"
    assert burnish(f"train {rows_file} --model {base} --method {method} --name first {options}").code == 0
    saved = here / "runs" / "first" / "recipe.yaml"
    left = [line.strip() for line in saved.read_text(encoding="utf-8").splitlines() if "auto" in line]
    assert left == []
    outcome = burnish("train runs/first/recipe.yaml --name second")
    assert outcome.code == 0, outcome.err
    first, second = (yaml.safe_load((here / "runs" / name / "recipe.yaml").read_text()) for name in ("first", "second"))
    assert first == {**second, "name": "first"}
    result, weights = {"lora": ("adapter", "adapter_model"), "full": ("model", "model")}[method]
    made = [(here / "runs" / name / result / f"{weights}.safetensors").read_bytes() for name in ("first", "second")]
    assert made[0] == made[1]


def test_another_seed_gives_another_adapter(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    for seed in (0, 1):
        assert burnish(f"train {rows_file} --model {base} --name seed-{seed} --seed {seed} {SHORT}").code == 0
    assert adapter_bytes(here / "runs" / "seed-0") != adapter_bytes(here / "runs" / "seed-1")


def test_names_are_made_up_where_none_is_given(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    for _ in range(2):
        assert burnish(f"train {rows_file} --model {base} {SHORT} --set train.max_steps=1").code == 0
    names = sorted(path.name for path in (here / "runs").iterdir())
    assert names == ["rows-llama-lora", "rows-llama-lora-2"]


def test_the_manifest_records_what_the_run_was_made_from(made_runs: Path, base: Path, rows_file: Path) -> None:
    manifest = json.loads((made_runs / "whole" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["versions"]["burnish"] == __version__
    assert manifest["versions"]["torch"] == metadata.version("torch")
    assert all(manifest["versions"][name] for name in ("python", "transformers", "peft", "safetensors"))
    assert (manifest["seed"], manifest["device"], manifest["precision"]) == (0, "cpu", "fp32")
    assert manifest["machine"]["cores"] >= 1
    assert manifest["data"]["files"] == [str(rows_file)]
    assert len(manifest["data"]["sha256"]) == 64
    assert manifest["model"] == {"name": str(base), **identity(base)}


def test_nothing_is_left_over(made_runs: Path) -> None:
    entries = [entry.split()[0] for entry in listing(made_runs / "whole")]
    tops = sorted(entry for entry in entries if "/" not in entry.rstrip("/"))
    assert tops == [
        "adapter/",
        "checkpoints/",
        "evaluation.json",
        "events.jsonl",
        "manifest.json",
        "metrics.jsonl",
        "recipe.yaml",
        "report.html",
        "views.json",
    ]
    assert not [entry for entry in entries if ".writing-" in entry]


def test_the_logs(made_runs: Path) -> None:
    folder = made_runs / "whole"
    steps = read_lines(folder / "metrics.jsonl", "StepDone")
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    assert all(step["trained_tokens"] < step["tokens"] <= 2 * 256 for step in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    kinds = [line["event"] for line in read_lines(folder / "events.jsonl")]
    often = ("Stage", "Note", "Resolved", "CheckpointSaved", "TimePlanned", "TimeMeasured")
    assert list(dict.fromkeys(kind for kind in kinds if kind not in often)) == [
        "MemoryBounded",
        "DataReady",
        "ModelReady",
        "TrainingStarted",
        "Diagnosed",
        "Finished",
    ]
    diagnosed = read_lines(folder / "events.jsonl", "Diagnosed")
    assert diagnosed[0]["name"] == "too-few-evaluations", "four steps make four validations"


def test_every_checkpoint_that_is_kept_is_whole(made_runs: Path) -> None:
    checkpoints = made_runs / "whole" / "checkpoints"
    folders = sorted(checkpoints.iterdir())
    assert [folder.name for folder in folders] == ["step-000003", "step-000004"]
    for folder in folders:
        sums = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
        files = {file.name for file in folder.iterdir()} - {"checksums.json"}
        assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}


def test_the_adapter_is_a_standard_peft_folder(made_runs: Path, base: Path, runs: Path, burnish: Burnish) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = made_runs / "whole" / "adapter"
    network = AutoModelForCausalLM.from_pretrained(str(base))
    tokenizer = AutoTokenizer.from_pretrained(str(adapter))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is red?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )
    with torch.no_grad():
        before = network(prompt).logits
        tuned = PeftModel.from_pretrained(network, str(adapter)).eval()
        assert (tuned(prompt).logits - before).abs().max() > 0.1
        ids = tuned.generate(prompt, max_new_tokens=8, do_sample=False, eos_token_id=tokenizer.eos_token_id)
    answer = tokenizer.decode(ids[0, prompt.shape[1] :], skip_special_tokens=True).strip()
    assert burnish('generate whole "What is red?" --max-new-tokens 8 --quiet').out == f"{answer}\n"


def test_a_full_model_is_a_standard_transformers_folder_and_a_base_again(
    here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    from transformers import AutoModelForCausalLM

    assert burnish(f"train {rows_file} --model {base} --method full --name first {SHORT}").code == 0
    model = here / "runs" / "first" / "model"
    old = AutoModelForCausalLM.from_pretrained(str(base)).state_dict()
    new = AutoModelForCausalLM.from_pretrained(str(model)).state_dict()
    assert old.keys() == new.keys()
    assert all(not torch.equal(old[name], new[name]) for name in old)
    shutil.copytree(model, here / "specialist")
    result = burnish(f"train {rows_file} --model ./specialist --name second {SHORT}")
    assert result.code == 0, result.err
    first, second = (read_lines(here / "runs" / name / "metrics.jsonl", "Validated") for name in ("first", "second"))
    assert second[0]["loss"] == pytest.approx(first[-1]["loss"], rel=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_rows_that_little_can_be_evaluated(count: int, here: Path, base: Path, burnish: Burnish) -> None:
    """One row is trained on and evaluated by none; of two rows one is held out, and no interval follows from it."""
    rows = [{"prompt": f"What is {number}?", "completion": "A hat."} for number in range(count)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = burnish(f"train rows.jsonl --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    verdict = (
        "There are no test or validation rows to evaluate on."
        if count == 1
        else "1 validation row is too few to show a difference"
    )
    assert verdict in result.out
    for file in (here / "runs" / "mine").glob("*.json*"):
        read_strictly(file)
    assert burnish("show mine").code == 0
    assert burnish("evaluate mine --json").json["rows"] == count - 1


def read_strictly(file: Path) -> None:
    """Reads one JSON document, or one a line, as programs do that know no `Infinity` and no `NaN`."""

    def refuse(name: str) -> None:
        pytest.fail(f"{file.name} holds {name}, which is not JSON")

    text = file.read_text(encoding="utf-8")
    for part in [text] if file.suffix == ".json" else text.splitlines():
        json.loads(part, parse_constant=refuse)
