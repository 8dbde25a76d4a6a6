"""`burnish export`: what is written is proved with llama.cpp, or not kept."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import transformers
from peft import AutoPeftModelForCausalLM

import burnish as burnish_api
from burnish.cli.main import main
from burnish.export.gguf import layouts
from burnish.export.gguf.adapter import Adapter
from burnish.inference import gguf_files, gguf_writers, llama_cpp
from tests.e2e.command_result import read_lines, screen
from tests.e2e.conftest import EXACT, Burnish
from tests.snapshots import check_snapshot
from tests.tiny_classifiers import reviews, save_reader

LEARN = (
    f"{EXACT} --set train.max_steps=40 --set train.epochs=100 --set train.learning_rate=0.02 --set batch.tokens=512 "
    "--set evaluate.answers=0 --set evaluate.general=none --set evaluate.every=20 --set evaluate.max_new_tokens=12"
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """A folder with a run that has learned one short answer, and where it ends; and with its rows."""
    folder = tmp_path_factory.mktemp("learned")
    rows = [{"prompt": f"Who is {number}?", "completion": "A red fox."} for number in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = f"train {folder / 'rows.jsonl'} --model {base} --method lora --name mine --runs {folder / 'runs'} {LEARN}"
    assert main(shlex.split(f"{words} --quiet")) == 0
    return folder


@pytest.fixture
def trained(here: Path, learned: Path) -> Path:
    """A copy of that run in the working directory, to be changed at will."""
    shutil.copytree(learned / "runs", here / "runs")
    return here / "runs/mine"


def test_gguf_and_ollama(trained: Path, burnish: Burnish) -> None:
    result = burnish("export mine --to gguf --type f32 --type q8_0 --json")
    assert result.code == 0, result.err
    made = result.json
    assert [file["type"] for file in made["files"]] == ["f32", "q8_0"]
    assert made["tokens"]["texts"] == made["rendered"] == 48
    assert (made["outputs"]["prompts"], made["outputs"]["ended"]) == (12, 12)
    exact, smaller = ({one["name"]: one for one in file["figures"]} for file in made["files"])
    assert abs(exact["loss"]["difference"]["value"]) < 1e-4
    assert smaller["loss"]["rows"] == exact["loss"]["rows"] > 10
    folder = trained / "export-gguf"
    assert {path.name for path in folder.iterdir()} == {"mine-f32.gguf", "mine-q8_0.gguf", "export.json"}
    kept = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert kept == {**{name: made[name] for name in kept}, "notes": []}
    with llama_cpp.LlamaCpp(folder / "mine-q8_0.gguf", 64, 1) as llama:
        tokenizer = transformers.AutoTokenizer.from_pretrained(trained / "adapter")
        asked = llama.tokens(llama.render([{"role": "user", "content": "Who is 77?"}]))
        assert tokenizer.decode(llama.complete(asked, 12).ids) == "A red fox."
    for page in ("report.html", "adapter/README.md"):
        text = (trained / page).read_text(encoding="utf-8")
        assert "Exported files" in text
        assert "mine-q8_0.gguf" in text
    again = burnish("export mine --to gguf")
    assert again.code == 2
    assert "already exists" in again.err

    result = burnish("export mine --to ollama --answers 0")
    assert result.code == 0, result.err
    check_snapshot("e2e/test_export::an exported run", screen(result))
    text = (trained / "export-ollama/Modelfile").read_text(encoding="utf-8")
    assert text.startswith("FROM ./mine-q8_0.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"' in text


def test_an_unknown_layout_is_refused_before_anything_is_merged(
    trained: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(layouts.LAYOUTS, "llama")
    result = burnish("export mine --to gguf")
    assert result.code == 2
    assert "type `llama` cannot be written as GGUF" in result.err
    assert "merging" not in result.err


def test_what_is_spoilt_is_not_kept(trained: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpermuted(name: str, tensor: numpy.ndarray, config: Any) -> numpy.ndarray:
        return tensor

    llama = layouts.LAYOUTS["llama"]
    spoilt = layouts.Layout(llama.architecture, llama.describe, unpermuted)
    with monkeypatch.context() as patch:
        patch.setitem(layouts.LAYOUTS, "llama", spoilt)
        result = burnish("export mine --to gguf")
    assert result.code == 1
    assert "answers differently from the model" in result.err
    with monkeypatch.context() as patch:
        read = gguf_writers.read_vocabulary
        patch.setattr(gguf_writers, "read_vocabulary", lambda tokenizer, rows, stops: read(tokenizer, rows, [5]))
        result = burnish("export mine --to gguf")
    assert result.code == 1
    assert "ends answers differently from the model" in result.err
    assert [path.name for path in trained.iterdir() if "export" in path.name] == [], "nothing is left"


def test_the_adapter_alone(trained: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proved on a GGUF file of the base model; with twice its strength it is not kept."""
    write = gguf_files.write_adapter

    def write_doubled(path: Path, adapter: Adapter, name: str) -> None:
        write(path, replace(adapter, alpha=2 * adapter.alpha), name)

    with monkeypatch.context() as spoilt:
        spoilt.setattr(gguf_files, "write_adapter", write_doubled)
        spoilt.setattr(gguf_files, "check_matrices", lambda *_: None)
        result = burnish("export mine --to gguf --adapter")
    assert result.code == 1
    assert "answers differently from the model" in result.err
    assert not (trained / "export-gguf").exists()

    result = burnish("export mine --to gguf --adapter --answers 0 --json")
    assert result.code == 0, result.err
    assert result.json["outputs"]["ended"] == 12
    folder = trained / "export-gguf"
    assert {path.name for path in folder.iterdir()} == {"mine-lora.gguf", "chat_template.jinja", "export.json"}
    place = "runs/mine/export-gguf"
    words = f"--lora {place}/mine-lora.gguf --jinja --chat-template-file {place}/chat_template.jinja"
    assert result.json["command"].endswith(words)


_CONVERTER = """
import sys
from pathlib import Path
import transformers
from burnish.inference.gguf_writers import OwnWriter

folder, target, kind = Path(sys.argv[1]), Path(sys.argv[3]), sys.argv[5]
config, tokenizer = transformers.AutoConfig.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
writer = OwnWriter.of("converted", folder, config, tokenizer, [tokenizer.eos_token_id])
writer.vocabulary = writer.vocabulary.split_by("gpt-2")
writer.write(target, kind)
"""
"""Stands in for llama.cpp's own, and takes its options."""


def test_a_converter_that_is_not_there_or_fails(trained: Path, burnish: Burnish) -> None:
    folder = trained.parents[1] / "llama.cpp"
    folder.mkdir()
    refused = burnish("export mine --to gguf --llama-cpp llama.cpp")
    assert (refused.code, "is not a folder of llama.cpp" in refused.err) == (2, True)
    script = folder / "convert_hf_to_gguf.py"
    script.write_text("raise SystemExit('Model LlamaForCausalLM is not supported')", encoding="utf-8")
    refused = burnish("export mine --to gguf --type q4_k_m --llama-cpp llama.cpp")
    assert (refused.code, "need llama.cpp's program `llama-quantize`" in refused.err) == (2, True)
    failed = burnish("export mine --to gguf --llama-cpp llama.cpp")
    assert (failed.code, "Model LlamaForCausalLM is not supported" in failed.err) == (1, True)
    assert not (trained / "export-gguf").exists()


@pytest.mark.slow
def test_llama_cpps_own_converter(trained: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes what this program does not know; what it writes is proved all the same."""
    script = trained.parents[1] / "llama.cpp/convert_hf_to_gguf.py"
    script.parent.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.delitem(layouts.LAYOUTS, "llama")  # here, not in the converter's process
    script.write_text(_CONVERTER, encoding="utf-8")
    result = burnish("export mine --to gguf --type f16 --llama-cpp llama.cpp --answers 4 --json")
    assert result.code == 0, result.err
    made = result.json
    assert (made["tokens"]["split"], made["outputs"]["ended"], made["files"][0]["error"]) == ("gpt-2", 12, None)
    assert made["notes"] == [
        "The files were written by llama.cpp's converter: what is proved are their tokens and answers.",
        "the tokenizer has no chat template: ChatML is used and saved with it",
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--to vllm --type q8_0", "`--type` has no effect with `--to vllm`"),
        ("--to ollama --adapter", "`--adapter` has no effect with `--to ollama`"),
        ("--to gguf --adapter --type f16", "`--type` has no effect with `--adapter`"),
        ("--to hf --llama-cpp x", "`--llama-cpp` has no effect with `--to hf`"),
        ("--to gguf --adapter --llama-cpp x", "`--llama-cpp` has no effect with `--adapter`"),
    ],
)
def test_options_without_effect_are_refused(words: str, why: str, burnish: Burnish) -> None:
    result = burnish(f"export mine {words}")
    assert (result.code, why in result.err) == (2, True)


def test_without_llama_cpp_it_says_so(trained: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_files, "is_installed", lambda: False)
    result = burnish("export mine --to gguf --type f16")
    assert result.code == 0, result.err
    assert "Not verified" in result.err
    written = json.loads((trained / "export-gguf/export.json").read_text(encoding="utf-8"))
    assert written["tokens"] is None
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))
    result = burnish("export mine --to ollama")
    assert result.code == 3
    assert "pip install 'burnish[export]'" in result.err


def test_adapters_and_merged_models(trained: Path, base: Path, burnish: Burnish) -> None:
    for to in ("hf", "vllm"):
        result = burnish(f"export mine --to {to} --json")
        assert result.code == 0, result.err
        network = AutoPeftModelForCausalLM.from_pretrained(str(trained / f"export-{to}"))
        assert network.peft_config["default"].r == 16
    assert result.json["command"] == (
        f"vllm serve {base} --enable-lora --max-lora-rank 16 --lora-modules mine=runs/mine/export-vllm"
    )
    assert burnish("export mine --to mlx").code == 0
    network = transformers.AutoModelForCausalLM.from_pretrained(trained / "export-mlx")
    assert type(network).__name__ == "LlamaForCausalLM"


@pytest.mark.slow
def test_an_adapter_that_vllm_refuses_is_merged(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    run = burnish_api.train(
        rows_file, model=base, method="lora", max_steps=2, set={"lora.dora": True, "evaluate.answers": 0}
    )
    result = burnish(f"export {run.path} --to vllm")
    assert result.code == 0, result.err
    assert "DoRA" in result.err
    assert (run.path / "export-vllm/model.safetensors").is_file()
    assert "vllm serve" in result.out


def test_what_has_no_such_form_is_refused(here: Path, burnish: Burnish) -> None:
    rows = [{"text": text, "label": label} for text, label in reviews(60)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reader = save_reader(here / "bert", "bert")
    result = burnish(f"train rows.jsonl --model {reader} --name mine {EXACT} --set train.max_steps=2")
    assert result.code == 0, result.err
    for to, why in (("gguf", "`classify` cannot be written as GGUF"), ("mlx", "MLX does not answer")):
        result = burnish(f"export mine --to {to}")
        assert (result.code, why in result.err) == (2, True), result.err
    assert burnish("export mine --to hf").code == 0
    assert read_lines(here / "runs/mine/events.jsonl", "Finished")
