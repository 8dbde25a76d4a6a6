"""Files and folders that are wrong in one way each."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Maker = Callable[[Path, Path], None]
"""Writes what a test needs into the first folder; the second is a good base model."""

GOOD = {"prompt": "What is red?", "completion": "A hat."}


def good_rows(count: int = 20) -> list[dict[str, str]]:
    """Different rows that can be learned from."""
    return [{"prompt": f"What is number {number}?", "completion": f"A hat, {number}."} for number in range(count)]


def lines(*rows: Any) -> str:
    """Rows as JSON Lines; text stands as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def holding(name: str, content: str | bytes) -> Maker:
    """One file."""

    def make(here: Path, base: Path) -> None:
        (here / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def rows(*given: Any, name: str = "rows.jsonl") -> Maker:
    """A JSON Lines file of the rows given, or of good ones."""
    return holding(name, lines(*(given or good_rows())))


def broken_gzip(here: Path, base: Path) -> None:
    """A gzip file whose second half is missing."""
    whole = gzip.compress(lines(*good_rows(200)).encode())
    (here / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])


def model_without(*names: str) -> Maker:
    """Good rows, and a copy of the base model in which some files are missing."""

    def make(here: Path, base: Path) -> None:
        rows()(here, base)
        shutil.copytree(base, here / "model", ignore=shutil.ignore_patterns(*names))

    return make


def pickled_model(here: Path, base: Path) -> None:
    """Weights only as a Python pickle."""
    import torch
    from safetensors.torch import load_file

    model_without("*.safetensors")(here, base)
    torch.save(load_file(str(base / "model.safetensors")), here / "model" / "pytorch_model.bin")


def cut_weights(here: Path, base: Path) -> None:
    """A weights file that ends too early, as after a broken download."""
    model_without()(here, base)
    file = here / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def missing_tensor(here: Path, base: Path) -> None:
    """Weights in which one layer is missing."""
    from safetensors.torch import load_file, save_file

    model_without("*.safetensors")(here, base)
    tensors = load_file(str(base / "model.safetensors"))
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, str(here / "model" / "model.safetensors"), {"format": "pt"})


def weight_of(value: float, name: str = "model.layers.1.mlp.down_proj.weight") -> Maker:
    """Good rows, and a copy of the base model in which one number of a tensor is another."""

    def make(here: Path, base: Path) -> None:
        from safetensors.torch import load_file, save_file

        model_without("*.safetensors")(here, base)
        tensors = load_file(str(base / "model.safetensors"))
        tensors[name].view(-1)[5] = value
        save_file(tensors, str(here / "model" / "model.safetensors"), {"format": "pt"})

    return make


def small_embedding(here: Path, base: Path) -> None:
    """A model with fewer rows in its embedding than the tokenizer has tokens."""
    from safetensors.torch import load_file, save_file

    model_without("*.safetensors")(here, base)
    tensors = load_file(str(base / "model.safetensors"))
    kept = {name: tensor[:280].clone() if len(tensor) == 300 else tensor for name, tensor in tensors.items()}
    save_file(kept, str(here / "model" / "model.safetensors"), {"format": "pt"})
    config = json.loads((here / "model" / "config.json").read_text(encoding="utf-8"))
    (here / "model" / "config.json").write_text(json.dumps({**config, "vocab_size": 280}), encoding="utf-8")


def foreign_end_token(here: Path, base: Path) -> None:
    """A tokenizer whose chat template ends answers with a special token that the model does not have."""
    from transformers import AutoTokenizer

    model_without()(here, base)
    tokenizer = AutoTokenizer.from_pretrained(str(here / "model"))
    tokenizer.add_special_tokens({"eos_token": "<|stop|>"})
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<|stop|>\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    tokenizer.save_pretrained(str(here / "model"))


def adapter_as_model(here: Path, base: Path) -> None:
    """An adapter folder where a base model belongs."""
    rows()(here, base)
    (here / "model").mkdir()
    (here / "model" / "adapter_config.json").write_text("{}", encoding="utf-8")


def model_whose(name: str, **values: Any) -> Maker:
    """Good rows, and a copy of the base model with other values in a JSON file."""

    def make(here: Path, base: Path) -> None:
        model_without()(here, base)
        path = here / "model" / name
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return make


def model_with(name: str, content: str) -> Maker:
    """Good rows, and a copy of the base model with one file replaced."""

    def make(here: Path, base: Path) -> None:
        model_without()(here, base)
        (here / "model" / name).write_text(content, encoding="utf-8")

    return make


def endless_model(here: Path, base: Path) -> None:
    """A tokenizer with neither EOS nor `<|im_end|>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model_without("tokenizer*")(here, base)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(str(here / "model"))
