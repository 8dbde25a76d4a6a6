"""Odd models, adapters and run folders, each with the commands that are given it."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

from tools.attack.oddities import MB, MODEL, ONE_STEP, odd
from tools.attack.traps import Place, Trap

_CHECK, _PLAN, _TRAIN = f"check rows.jsonl {MODEL}", f"plan rows.jsonl {MODEL}", f"train rows.jsonl {MODEL} {ONE_STEP}"
_ANSWER = "generate model hello --max-new-tokens 2"
_ON_MODEL = (_CHECK, _PLAN, _TRAIN, _ANSWER)
_ON_RUN = (
    "generate runs/made hello --max-new-tokens 2",
    "merge runs/made --out merged",
    "evaluate runs/made --answers 1",
    "show runs/made",
    "resume runs/made",
)
_READ = ("runs", "show runs/made", "report runs/made", "compare runs/made runs/made", "resume runs/made")
_DEEP = '{"a":' + "[" * 200_000 + "]" * 200_000 + "}"
_ENDLESS = "((([a-z0-9._]+)*)*)*!"
_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json",
    "special_tokens_map.json", "model.safetensors", "model.safetensors.index.json", "adapter_config.json",
)  # fmt: skip


def _pipe(name: str) -> Trap:
    def lay(place: Place) -> None:
        (place.model / name).unlink(missing_ok=True)
        os.mkfifo(place.model / name)

    return lay


def _deep(name: str) -> Trap:
    def lay(place: Place) -> None:
        (place.model / name).unlink(missing_ok=True)
        (place.model / name).write_text(_DEEP, encoding="utf-8")

    return lay


for _name in _FILES:
    odd(f"a pipe as {_name}", _PLAN, _TRAIN, _ANSWER)(_pipe(_name))
    odd(f"a device as {_name}", _TRAIN)(lambda place, name=_name: place.link(place.model / name, Path("/dev/zero")))
    odd(f"{_name} that nests deep", _CHECK, _TRAIN)(_deep(_name))


def _header(place: Place) -> tuple[dict[str, Any], bytes]:
    """The list of tensors in the weights, and what follows it."""
    content = (place.model / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _write(place: Place, header: bytes, size: int | None = None, rest: bytes = b"") -> None:
    length = struct.pack("<Q", len(header) if size is None else size)
    (place.model / "model.safetensors").write_bytes(length + header + rest)


@odd("weights whose header is endless", *_ON_MODEL)
def _(place: Place) -> None:
    _write(place, b"{}", 2**63)


@odd("weights whose header has 3 GB", *_ON_MODEL)
def _(place: Place) -> None:
    _write(place, b"{}", 3_000 * MB)
    os.truncate(place.model / "model.safetensors", 3_001 * MB)


@odd("weights that overlap", *_ON_MODEL)
def _(place: Place) -> None:
    header, rest = _header(place)
    for value in header.values():
        if "data_offsets" in value:
            value["data_offsets"] = [0, value["data_offsets"][1] - value["data_offsets"][0]]
    _write(place, json.dumps(header).encode(), None, rest)


@odd("weights of odd shapes", *_ON_MODEL)
def _(place: Place) -> None:
    header, rest = _header(place)
    first, second, third, *_ = (name for name in header if name != "__metadata__")
    header[first]["shape"], header[second]["shape"], header[third]["dtype"] = [2**62, 2**62], [-1], "Q9"
    _write(place, json.dumps(header).encode(), None, rest)


@odd("a token of a huge number", _CHECK, _TRAIN)
def _(place: Place) -> None:
    file = place.model / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokenizer["added_tokens"] = [*tokenizer.get("added_tokens", []), {"id": 2**31, "content": "<big>", **flags}]
    file.write_text(json.dumps(tokenizer), encoding="utf-8")


@odd("a tokenizer whose pattern comes to no end", _CHECK, _TRAIN)
def _(place: Place) -> None:
    file = place.model / "tokenizer.json"
    split = {"type": "Split", "pattern": {"Regex": "(a+)+(a+)+$"}, "behavior": "Isolated", "invert": False}
    tokenizer = json.loads(file.read_text(encoding="utf-8")) | {"pre_tokenizer": split}
    file.write_text(json.dumps(tokenizer), encoding="utf-8")
    row = {"prompt": "a" * 60 + "b", "completion": "a" * 50 + "!"}
    (place.here / "rows.jsonl").write_text(f"{json.dumps(row)}\n" * 20, encoding="utf-8")


@odd("a tokenizer of 300,000 special tokens", _CHECK)
def _(place: Place) -> None:
    tokens = [f"<x{number}>" for number in range(300_000)]
    place.edit(place.model / "tokenizer_config.json", additional_special_tokens=tokens)


_CONFIGS: dict[str, dict[str, Any]] = {
    "huge sizes": {"hidden_size": 10**9, "vocab_size": 10**12, "intermediate_size": 2**62},
    "broken sizes": {"num_attention_heads": 0, "head_dim": -1, "rope_theta": "x", "rms_norm_eps": "NaN"},
    "odd positions": {"rope_scaling": {"rope_type": "yarn", "factor": 1e300, "original_max_position_embeddings": -5}},
    "code of another repository": {"auto_map": {"AutoConfig": "evil/repo--mine.Mine"}},
    "odd quantization": {"quantization_config": {"quant_method": "bitsandbytes", "llm_int8_skip_modules": ["(.*)*$"]}},
    "a type that is code": {"dtype": "os.system('touch SPRUNG')", "architectures": ["__import__('os')"]},
}
for _name, _values in _CONFIGS.items():
    odd(f"a config of {_name}", *_ON_MODEL)(
        lambda place, values=_values: place.edit(place.model / "config.json", **values)
    )


@odd("a config with keys twice, and no numbers", *_ON_MODEL)
def _(place: Place) -> None:
    text = (place.model / "config.json").read_text(encoding="utf-8").rstrip()[:-1]
    added = ', "model_type": "bert", "rope_theta": NaN, "initializer_range": Infinity}'
    (place.model / "config.json").write_text(text + added, encoding="utf-8")


@odd("several chat templates", *_ON_MODEL)
def _(place: Place) -> None:
    text = "{% for m in messages %}A{{ m.content }}{{ eos_token }}{% endfor %}"
    (place.model / "chat_template.jinja").write_text(text, encoding="utf-8")
    place.edit(place.model / "tokenizer_config.json", chat_template="{{ 1 / 0 }}")
    place.edit(place.model / "chat_template.json", chat_template="{{ 'x' * 10000000000 }}")
    (place.model / "additional_chat_templates").mkdir()
    (place.model / "additional_chat_templates" / "a.jinja").write_text("{% include '/etc/passwd' %}", encoding="utf-8")


@odd("a chat template of 60 MB", _CHECK)
def _(place: Place) -> None:
    (place.model / "chat_template.jinja").write_text("{# a #}" * 8_000_000, encoding="utf-8")


@odd("a chat template that is no text", _CHECK)
def _(place: Place) -> None:
    (place.model / "chat_template.jinja").write_bytes(b"\xff\xfe\x00{{" * 99)


@odd("generation settings without measure", _TRAIN, _ANSWER)
def _(place: Place) -> None:
    values = {"max_length": 10**12, "num_beams": 100_000, "temperature": "nan", "assistant_model": "x/y"}
    more = {"eos_token_id": list(range(9999)), "stop_strings": ["a"] * 9999, "cache_implementation": "offloaded_static"}
    place.edit(place.model / "generation_config.json", **values, **more)


_ADAPTERS: dict[str, dict[str, Any]] = {
    "an endless pattern": {"target_modules": _ENDLESS},
    "endless patterns elsewhere": {"rank_pattern": {_ENDLESS: 4}, "exclude_modules": _ENDLESS},
    "a rank of a billion": {"r": 10**9, "lora_alpha": float("nan")},
    "a rank below zero": {"r": -1, "lora_alpha": "x", "target_modules": [], "layers_to_transform": [10**12]},
    "a base elsewhere": {"base_model_name_or_path": "../../../../../etc", "revision": "../x"},
    "another kind": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 10**12, "tokenizer_name_or_path": "evil/x"},
    "code in its settings": {"megatron_core": "mine", "corda_config": {"cache_file": "/etc/passwd"}},
}
for _name, _values in _ADAPTERS.items():
    odd(f"an adapter of {_name}", *_ON_RUN, f"train rows.jsonl --model runs/made/adapter {ONE_STEP}")(
        lambda place, values=_values: place.edit(place.adapter / "adapter_config.json", **values)
    )


@odd("a manifest with keys twice, and no numbers", *_ON_RUN, *_READ, "reproduce runs/made --steps 1")
def _(place: Place) -> None:
    file = place.run / "manifest.json"
    added = ', "versions": {"burnish": NaN}, "model": {"name": Infinity, "sha256": 1e999}, "seed": NaN}'
    file.write_text(file.read_text(encoding="utf-8").rstrip()[:-1] + added, encoding="utf-8")


@odd("files of a run that nest deep", *_ON_RUN, *_READ, "reproduce runs/made --steps 1")
def _(place: Place) -> None:
    for name in ("manifest.json", "evaluation.json", "views.json", ".writer.json"):
        (place.run / name).write_text(_DEEP, encoding="utf-8")


@odd("event lines of 200 MB", *_READ)
def _(place: Place) -> None:
    with (place.run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "Warned", "text": "' + "a" * 200 * MB + '", "time": 1.0}\n')


@odd("metric lines of 200 MB", *_READ)
def _(place: Place) -> None:
    with (place.run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "StepDone", "loss": ' + "1" * 200 * MB + ', "step": 2}\n')


@odd("metrics of hostile names", *_READ, "evaluate runs/made --answers 1")
def _(place: Place) -> None:
    file = place.run / "evaluation.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    for figure in found["figures"]:
        figure["name"] = "</script><script>x</script>\x1b]0;x\x07" + "n" * 100_000
    file.write_text(json.dumps(found), encoding="utf-8")


_ODD_PLACE = "a\n[b] %s {x}"


@odd(
    "a run on a path with a line break",
    *(words.replace("runs/made", f"'{_ODD_PLACE}/made'") for words in (*_ON_RUN, "report runs/made")),
    f"eject '{_ODD_PLACE}/made' --out script.py",
    f"export '{_ODD_PLACE}/made' --to hf",
    f"runs --runs '{_ODD_PLACE}'",
)
def _(place: Place) -> None:
    shutil.copytree(place.run, place.here / _ODD_PLACE / "made")


@odd("checkpoints of odd names", *_READ, *(f"generate runs/made@{step} hello" for step in ("0", "-1", "9" * 12)))
def _(place: Place) -> None:
    for name in ("step-" + "9" * 200, "step--1", "step-0", "step-1e9", "step-٣", "step-000001\n"):
        (place.run / "checkpoints" / name).mkdir()


@odd("checkpoints without measure", *_READ, "reproduce runs/made --steps 1")
def _(place: Place) -> None:
    shutil.rmtree(place.adapter)
    (place.run / "evaluation.json").unlink()
    for file in (place.run / "checkpoints").rglob("*.json"):
        file.write_text('{"step": 1e999, "a": ' + "9" * 5000 + "}", encoding="utf-8")
