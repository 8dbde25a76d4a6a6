"""`burnish merge`: the merged folder answers as base and adapter do, whatever was trained, and is a base itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import burnish as burnish_api
from burnish.errors import BurnishError
from burnish.runs.folder import RunFolder
from burnish.workflows.merge import merge
from tests.architecture_table import rows_for
from tests.e2e.command_result import listing, read_lines, screen
from tests.e2e.conftest import SHORT, Burnish
from tests.snapshots import check_snapshot
from tests.tiny_architectures import save_architecture
from tests.tiny_classifiers import reviews, save_reader
from tests.tiny_models import make_network, save_model
from tests.tiny_taggers import save_tagger, write_conll
from tests.tiny_vision import FAMILIES, save_vision_model, write_picture_rows

QUICK: dict[str, Any] = {
    "method": "lora", "max_steps": 2, "precision": "fp32", "device": "cpu", "name": "mine", "learning_rate": 0.02
}  # fmt: skip
FEW = {"batch.tokens": 256, "evaluate.answers": 0, "evaluate.general": "none"}
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"lora.rslora": True},
    "dora": {"lora.dora": True},
    "pissa": {"lora.init": "pissa"},
    "olora": {"lora.init": "olora"},
    "bias": {"lora.bias": "all"},
    "head": {"lora.modules_to_save": ["lm_head"]},
    "tokens": {"lora.added_tokens": ["<red>", "<blue>"]},
    "ia3": {"method": "ia3"},
    "int8-lora": {"method": "int8-lora"},
}
LONG_RUN = "lora", "rslora", "pissa", "olora", "head", "ia3"


def train(rows: Path, model: Path, **options: Any) -> RunFolder:
    """A short run; options by dotted names besides `QUICK`."""
    sets = {**FEW, **{name: value for name, value in options.items() if "." in name}}
    plain = {name: value for name, value in options.items() if "." not in name}
    return burnish_api.train(rows, model=model, set=sets, **{**QUICK, **plain}).folder


def plain_logits(folder: Path, kind: str, ids: torch.Tensor) -> torch.Tensor:
    """What any program that loads the folder gets."""
    network = getattr(transformers, kind).from_pretrained(folder).eval()
    with torch.no_grad():
        return network(input_ids=ids).logits


def test_the_command_reports_and_writes_what_it_found(runs: Path, burnish: Burnish) -> None:
    result = burnish("merge whole")
    assert result.code == 0, result.err
    check_snapshot("e2e/test_merge::a merged run", screen(result))
    written = json.loads((runs / "whole" / "merged" / "merge.json").read_text(encoding="utf-8"))
    assert written["precision"] == "fp32"
    assert 0 < written["merged"]["mean"] <= written["tolerance"]["mean"] < 0.01 * written["learned"]["mean"]
    assert written["merged"]["same_choice"] == 1
    files = {path.name for path in (runs / "whole" / "merged").iterdir()}
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "merge.json"}
    assert "chat_template.jinja" in files
    assert "adapter_config.json" not in files


def test_the_merged_folder_answers_alike_and_is_a_base(runs: Path, rows_file: Path, burnish: Burnish) -> None:
    tuned = burnish('generate whole "What is red?" --max-new-tokens 8 --quiet').out
    assert burnish("merge whole --out tuned --quiet").out == "tuned\n"
    assert burnish('generate tuned "What is red?" --max-new-tokens 8 --quiet').out == tuned
    result = burnish(f"train {rows_file} --model tuned --name again {SHORT}")
    assert result.code == 0, result.err
    first = read_lines(runs / "again" / "metrics.jsonl", "Validated")[0]["loss"]
    last = read_lines(runs / "whole" / "metrics.jsonl", "Validated")[-1]
    assert last["is_best"]
    assert first == pytest.approx(last["loss"], rel=1e-4)


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.slow) if name in LONG_RUN else name for name in VARIANTS]
)
def test_every_kind_of_adapter(variant: str, here: Path, base: Path, rows_file: Path) -> None:
    run = train(rows_file, base, **VARIANTS[variant])
    merged = merge(run)
    assert merged.learned is None or merged.learned.mean > 100 * merged.merged.mean
    assert (merged.learned is None) == (variant == "bias")
    assert (merged.quantized is not None) == (variant == "int8-lora")
    if merged.quantized is not None:
        assert merged.quantized.mean > 10 * merged.merged.mean, "quantizing is a change that must be seen"
        assert "trained on a quantized base" in merged.remarks[-1]
    if variant == "tokens":
        tokenizer = transformers.AutoTokenizer.from_pretrained(merged.folder)
        config = transformers.AutoConfig.from_pretrained(merged.folder)
        assert config.vocab_size == len(tokenizer) == tokenizer.convert_tokens_to_ids("<blue>") + 1


def test_four_bits(here: Path, base: Path, rows_file: Path) -> None:
    merged = merge(train(rows_file, base, method="qlora"))
    assert merged.quantized is not None
    assert merged.learned is not None
    assert merged.merged.mean < 1e-4 < merged.quantized.mean


@pytest.mark.parametrize("kind", ["gpt2", pytest.param("qwen2", marks=pytest.mark.slow)])
def test_other_layouts(kind: str, here: Path, tiny_model: Callable[[str], Path], rows_file: Path) -> None:
    """GPT-2 holds its matrices the other way round; this Qwen's head is its embedding."""
    run = train(rows_file, tiny_model(kind), **{"lora.added_tokens": ["<red>"]})
    merged = merge(run)
    assert merged.learned is not None
    assert merged.learned.mean > 100 * merged.merged.mean


@pytest.mark.slow
def test_running_text(here: Path, base: Path) -> None:
    Path("tale.txt").write_text("The red fox is in the garden. " * 200, encoding="utf-8")
    merged = merge(train(Path("tale.txt"), base))
    assert merged.rows > 0


@pytest.mark.parametrize("kind", ["bert", pytest.param("llama", marks=pytest.mark.slow)])
def test_a_classification_head_survives(kind: str, here: Path) -> None:
    model = save_reader(here / "model", kind)
    rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(60))
    Path("reviews.jsonl").write_text(rows, encoding="utf-8")
    run = train(Path("reviews.jsonl"), model)
    merged = merge(run)
    config = transformers.AutoConfig.from_pretrained(merged.folder)
    assert config.id2label == {0: "bad", 1: "good"}
    ids = torch.arange(10, 18)[None]
    tuned = burnish_api.load_run("mine")._loaded().network
    with torch.no_grad():
        expected = tuned(input_ids=ids).logits
    assert torch.allclose(
        plain_logits(Path(merged.folder), "AutoModelForSequenceClassification", ids), expected, atol=1e-5
    )
    again = burnish_api.train("reviews.jsonl", model=merged.folder, set=FEW, **{**QUICK, "name": "again"})
    assert again.evaluation is not None


def test_a_head_for_tags_survives(here: Path) -> None:
    model = save_tagger("bert", here / "model")
    merged = merge(train(write_conll(here / "names.conll"), model))
    assert "B-PER" in (transformers.AutoConfig.from_pretrained(merged.folder).label2id or {})
    assert merged.learned is not None
    assert merged.learned.mean > 100 * merged.merged.mean


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("text-to-text", "T5"),
        pytest.param("preference", "Llama", marks=pytest.mark.slow),
        pytest.param("reward", "Llama", marks=pytest.mark.slow),
        pytest.param("tag", "Llama", marks=pytest.mark.slow),
        pytest.param("span", "BERT", marks=pytest.mark.slow),
        pytest.param("fill-mask", "BERT", marks=pytest.mark.slow),
    ],
)
def test_every_other_task(task: str, kind: str, here: Path) -> None:
    model = save_architecture(kind, here / "model")
    merged = merge(train(rows_for(task, here), model, task=task, **{"data.context": 64}))
    assert merged.learned is not None
    assert merged.learned.mean > 100 * merged.merged.mean


@pytest.mark.slow
def test_pictures(here: Path) -> None:
    run = train(write_picture_rows(here), save_vision_model(FAMILIES[0], here / "model"), **{"batch.tokens": 300})
    merged = merge(run)
    assert merged.learned is not None
    assert merged.learned.mean > 100 * merged.merged.mean
    assert (Path(merged.folder) / "preprocessor_config.json").is_file() or list(Path(merged.folder).glob("processor*"))


def test_a_head_of_its_own_where_it_was_the_embedding(here: Path, tiny_model: Any, rows_file: Path) -> None:
    """Trained in full beside the adapter, the head no longer shares its matrix."""
    merged = merge(train(rows_file, tiny_model("qwen2"), **{"lora.modules_to_save": ["lm_head"]}))
    assert merged.learned is not None
    assert merged.learned.mean > 100 * merged.merged.mean


def test_what_the_class_of_the_base_does_not_load_is_named(
    here: Path, tiny_model: Any, rows_file: Path, burnish: Burnish
) -> None:
    """The adapter leaves it in the base; the merged folder does not have it."""
    model = Path(shutil.copytree(tiny_model("llama"), here / "heads"))
    file = model / "model.safetensors"
    save_file({**load_file(file), "mtp.fc.weight": torch.ones(2)}, file, metadata={"format": "pt"})
    run = train(rows_file, model)
    result = burnish(f"merge {run.path}")
    assert result.code == 0, result.err
    assert "the saved model will not have it" in " ".join(result.err.split())
    assert "mtp.fc.weight" not in load_file(run.merged / "model.safetensors")


def test_weights_are_summed_in_fp32_and_rounded_once(here: Path, tiny_tokenizer: Any, rows_file: Path) -> None:
    model = save_model(here / "model", make_network("llama", len(tiny_tokenizer)).bfloat16(), tiny_tokenizer)
    run = train(rows_file, model)
    merged = merge(run)
    assert merged.precision == "bf16"
    before, after = (load_file(str(folder / "model.safetensors")) for folder in (model, Path(merged.folder)))
    adapter = load_file(str(run.adapter / "adapter_model.safetensors"))
    name = "model.layers.1.self_attn.q_proj"
    up, down = (adapter[f"base_model.model.{name}.lora_{side}.weight"] for side in "BA")
    exact = before[f"{name}.weight"].float() + 2 * up @ down
    assert after[f"{name}.weight"].equal(exact.bfloat16())
    assert after["model.embed_tokens.weight"].equal(before["model.embed_tokens.weight"])
    assert merge(run, Path("wide"), "fp32").precision == "fp32"
    assert load_file("wide/model.safetensors")[f"{name}.weight"].dtype == torch.float32


def test_a_model_that_answers_otherwise_is_not_written(
    runs: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the file system gave back other bytes than it was given."""
    from burnish.workflows import merge as page

    written = page.fold

    def damaged(tuned: Any, dtypes: Any) -> Any:
        network = written(tuned, dtypes)
        network.lm_head.weight.data += 0.01
        return network

    before = listing(runs)
    monkeypatch.setattr(page, "fold", damaged)
    result = burnish("merge whole")
    assert result.code == 1
    assert result.what == "the merged model of the run `whole` gives different outputs than its base with the adapter"
    assert "rounding to fp32 explains" in result.why
    assert result.hint == "Use the adapter as it is"
    assert listing(runs) == before


def test_what_is_there_is_never_replaced(runs: Path, burnish: Burnish) -> None:
    (runs / "whole" / "merged").mkdir()
    result = burnish("merge whole")
    assert (result.code, result.what) == (2, "`runs/whole/merged` already exists")
    assert "another path" in result.hint
    result = burnish("merge whole --out none/here")
    assert (result.code, result.what) == (2, "the folder `none` does not exist")


@pytest.mark.parametrize(
    ("method", "what", "hint"),
    [
        ("prompt", "what the method `prompt` trains cannot be merged into a model", "`--method lora`"),
        ("full", "the run `mine` has nothing to merge", "`--model runs/mine/model`"),
    ],
)
def test_methods_with_nothing_to_fold_in(
    method: str, what: str, hint: str, here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    train(rows_file, base, method=method)
    result = burnish("merge mine")
    assert (result.code, result.what) == (2, what)
    assert result.why
    assert hint in result.hint


def test_runs_that_cannot_be_merged_yet(runs: Path, burnish: Burnish) -> None:
    outcome = burnish("merge stopped")
    assert (outcome.code, outcome.what) == (2, "the run `stopped` has no result yet")


def test_an_idle_adapter_is_not_merged(runs: Path, burnish: Burnish) -> None:
    file = runs / "whole" / "adapter" / "adapter_model.safetensors"
    tensors = {name: tensor * (0 if "lora_B" in name else 1) for name, tensor in load_file(str(file)).items()}
    save_file(tensors, str(file), {"format": "pt"})
    result = burnish("merge whole")
    assert (result.code, result.what) == (2, "the adapter in `runs/whole/adapter` changes nothing")
    assert not (runs / "whole" / "merged").exists()


def test_a_quantized_base_is_refused(runs: Path, base: Path, burnish: Burnish) -> None:
    """As a folder of GPTQ or AWQ weights says of itself; the run's fingerprint is kept, only the config says so."""
    from burnish.errors import InputError
    from burnish.export.merge import check_unquantized

    shutil.copytree(base, runs / "base")
    config = transformers.AutoConfig.from_pretrained(runs / "base")
    check_unquantized(config, "base")
    config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(InputError, match="is itself saved in quantized form"):
        check_unquantized(config, "base")


def test_a_value_beyond_fp16_is_named(rows_file: Path, tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """It is multiplied by 0 in every row: otherwise all logits would hang on how one product is rounded in bf16."""
    model = shutil.copytree(tiny_model("llama"), tmp_path / "model")
    tensors = load_file(str(model / "model.safetensors"))
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name][3, 4] = 9e4
    tensors[name.replace("down", "up")][4] = 0
    save_file(tensors, str(model / "model.safetensors"), {"format": "pt"})
    run = train(rows_file, model, runs=tmp_path / "runs", **{"lora.targets": ["q_proj", "down_proj"]})
    with pytest.raises(BurnishError, match=f"do not fit into fp16: the tensor `{name}`") as caught:
        merge(run, precision="fp16")
    assert "--precision bf16" in caught.value.fix
    merge(run, precision="bf16")


def test_a_tied_output_layer_under_lora_is_untied(
    rows_file: Path, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    options = {"lora.targets": ["q_proj", "lm_head"], "train.learning_rate": 0.02}
    run = train(rows_file, tiny_model("qwen2"), runs=tmp_path / "runs", **options)
    merged = merge(run)
    config = json.loads((Path(merged.folder) / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is False


@pytest.mark.parametrize(
    "targets",
    [["embed_tokens"], pytest.param(["lm_head"], marks=pytest.mark.slow), ["embed_tokens", "lm_head"]],
)
def test_layers_that_share_a_matrix_are_trained_evaluated_and_merged(
    targets: list[str], rows_file: Path, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    run = train(rows_file, tiny_model("qwen2"), runs=tmp_path / "runs", **{"lora.targets": targets})
    assert "changes nothing" not in run.events.read_text(encoding="utf-8")
    assert Path(merge(run).folder, "config.json").is_file()


def test_an_embedding_cannot_begin_as_a_part_of_its_weights(
    rows_file: Path, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    options = {"lora.targets": ["embed_tokens", "q_proj"], "lora.init": "pissa"}
    with pytest.raises(BurnishError, match="lora.init=pissa") as caught:
        train(rows_file, tiny_model("qwen2"), runs=tmp_path / "runs", **options)
    assert "embedding" in caught.value.why
