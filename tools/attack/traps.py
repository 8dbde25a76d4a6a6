"""Traps in run folders, models, recipes and data, as an attacker lays them: each is a change to good files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.attack.victims import RUN

SPRUNG, OUTSIDE = "SPRUNG", "outside"
_ESCAPE = "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.system('touch SPRUNG') }}"
_CODES = "\x1b]0;owned\x07\x1b[2J"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one trap lies."""

    here: Path
    """The current folder of the commands; holds `runs/made`, `model` and `rows.jsonl`."""
    outside: Path
    """A folder beside, which has to stay as it is."""

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.here / RUN

    @property
    def adapter(self) -> Path:
        """The result of the run."""
        return self.run / "adapter"

    @property
    def model(self) -> Path:
        """The base model."""
        return self.here / "model"

    def code(self, folder: Path) -> None:
        """Puts a module `mine` into a folder, which leaves a trace as soon as it is imported."""
        trace = f"open({str(self.here / SPRUNG)!r}, 'a').close()\n"
        names = ("score", "Mine", "generate", "MineConfig", "load_custom_generate")
        for module in ("mine.py", "modeling_mine.py", "generate.py", "rows.py", "tokenization_mine.py"):
            (folder / module).write_text(trace + "".join(f"def {name}(*a, **k): pass\n" for name in names))

    def edit_recipe(self, section: str, **values: Any) -> None:
        """Changes options of the run's recipe."""
        recipe = yaml.safe_load((self.run / "recipe.yaml").read_text(encoding="utf-8"))
        recipe.setdefault(section, {}).update(values)
        (self.run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")

    def edit(self, path: Path, **values: Any) -> None:
        """Changes keys of a JSON file."""
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(found | values), encoding="utf-8")

    def link(self, path: Path, target: Path) -> None:
        """Puts a link in the place of a file or folder."""
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(target)

    def pickle(self, path: Path) -> None:
        """Writes a pickle that leaves a trace when it is loaded."""
        path.write_bytes(pickle.dumps(_Trap(str(self.here / SPRUNG))))


class _Trap:
    """An object whose pickle opens a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self._path, "a"))


_MAP = {
    "auto_map": {name: "mine.Mine" for name in ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoProcessor")}
}
_TOKENIZER_MAP = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}

Trap = Callable[[Place], None]
RUNS: dict[str, Trap] = {}
MODELS: dict[str, Trap] = {}
DATA: dict[str, Trap] = {}
RECIPES: dict[str, Trap] = {}
KINDS = {"run": RUNS, "model": MODELS, "recipe": RECIPES, "data": DATA}


def trap(kind: dict[str, Trap], name: str) -> Callable[[Trap], Trap]:
    """Adds a function that lays a trap to those of a kind."""

    def add(lay: Trap) -> Trap:
        kind[name] = lay
        return lay

    return add


@trap(RUNS, "recipe trusts remote code")
def _(place: Place) -> None:
    place.code(place.adapter)
    place.edit(place.adapter / "tokenizer_config.json", **_TOKENIZER_MAP)
    place.edit_recipe("model", trust_remote_code=True)


@trap(RUNS, "tokenizer of the adapter names code")
def _(place: Place) -> None:
    place.code(place.adapter)
    place.edit(place.adapter / "tokenizer_config.json", **_TOKENIZER_MAP)


@trap(RUNS, "metric in the run folder")
def _(place: Place) -> None:
    for folder in (place.run, place.here):
        place.code(folder)
    place.edit_recipe("evaluate", metric="mine:score")


@trap(RUNS, "recipe allows pickles")
def _(place: Place) -> None:
    (place.model / "model.safetensors").unlink()
    place.pickle(place.model / "pytorch_model.bin")
    place.edit_recipe("model", allow_pickle=True, name=str(place.model))


@trap(RUNS, "base model with code")
def _(place: Place) -> None:
    place.code(place.model)
    place.edit(place.model / "config.json", **_MAP)
    place.edit_recipe("model", name=str(place.model), trust_remote_code=True)


@trap(RUNS, "adapter as a pickle")
def _(place: Place) -> None:
    (place.adapter / "adapter_model.safetensors").unlink()
    place.pickle(place.adapter / "adapter_model.bin")


@trap(RUNS, "adapter config names code")
def _(place: Place) -> None:
    place.code(place.adapter)
    found = {"base_model_class": "Mine", "parent_library": "mine"}
    place.edit(place.adapter / "adapter_config.json", auto_mapping=found, base_model_name_or_path=str(place.adapter))


_LINKS = {
    "events are a link": ("events.jsonl", "profile"),
    "metrics are a link": ("metrics.jsonl", "profile"),
    "checkpoints are a link": ("checkpoints", ""),
    "adapter is a link": ("adapter", ""),
    "a file of the adapter is a link": ("adapter/README.md", "profile"),
    "lock is a link": (".lock", "new"),
    "writer is a link": (".writer.json", "profile"),
}
"""What of a run folder is a link, and to what in the folder beside."""
for _name, (_path, _target) in _LINKS.items():
    RUNS[_name] = lambda place, path=_path, target=_target: place.link(place.run / path, place.outside / target)


@trap(RUNS, "leftover is a link")
def _(place: Place) -> None:
    (place.run / ".writing-adapter-12345678").symlink_to(place.outside, target_is_directory=True)
    (place.run / "checkpoints" / ".writing-step-000009-12345678").symlink_to(place.outside, target_is_directory=True)


@trap(RUNS, "metrics are a pipe")
def _(place: Place) -> None:
    (place.run / "metrics.jsonl").unlink()
    os.mkfifo(place.run / "metrics.jsonl")


@trap(RUNS, "manifest is a device")
def _(place: Place) -> None:
    place.link(place.run / "manifest.json", Path("/dev/zero"))


@trap(RUNS, "writer record with escape codes")
def _(place: Place) -> None:
    record = {"process": 1, "host": _CODES, "boot": "", "process_started": 0.0, "since": 1e9, "doing": _CODES}
    (place.run / ".writer.json").write_text(json.dumps(record), encoding="utf-8")


@trap(RUNS, "events with escape codes")
def _(place: Place) -> None:
    with (place.run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": "Warned", "text": _CODES, "time": 1.0}) + "\n")


@trap(RUNS, "recipe names objects of Python")
def _(place: Place) -> None:
    with (place.run / "recipe.yaml").open("a", encoding="utf-8") as file:
        file.write("x: !!python/object/apply:os.system ['touch SPRUNG']\n")


@trap(RUNS, "recipe unfolds")
def _(place: Place) -> None:
    names = "abcdefghi"
    bomb = [f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]" for before, one in zip(names, names[1:], strict=False)]
    (place.run / "recipe.yaml").write_text("\n".join(["a: &a [x, x, x]", *bomb]), encoding="utf-8")


@trap(RUNS, "recipe writes elsewhere")
def _(place: Place) -> None:
    recipe = yaml.safe_load((place.run / "recipe.yaml").read_text(encoding="utf-8"))
    recipe |= {"runs": str(place.outside), "name": "../outside/x"}
    (place.run / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")


@trap(RUNS, "checkpoint as pickles")
def _(place: Place) -> None:
    for path in (place.run / "checkpoints").rglob("*.safetensors"):
        place.pickle(path)
        place.pickle(path.with_suffix(".pt"))


@trap(RUNS, "chat template breaks out")
def _(place: Place) -> None:
    (place.adapter / "chat_template.jinja").write_text(_ESCAPE, encoding="utf-8")


@trap(RUNS, "recipe's template breaks out")
def _(place: Place) -> None:
    place.edit_recipe("template", chat=_ESCAPE)


@trap(RUNS, "evaluation with scripts")
def _(place: Place) -> None:
    path = place.run / "evaluation.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["verdict"] = found["headline"] = f"<script>alert(1)</script>{_CODES}"
    path.write_text(json.dumps(found), encoding="utf-8")


@trap(RUNS, "manifest says what it likes")
def _(place: Place) -> None:
    path = place.run / "manifest.json"
    path.write_text(json.dumps({"versions": {"burnish": [10**400] * 99}, "base_model": _CODES}), encoding="utf-8")


@trap(RUNS, "generation by code")
def _(place: Place) -> None:
    for folder in (place.adapter, place.model):
        (folder / "custom_generate").mkdir()
        place.code(folder / "custom_generate")
        place.edit(folder / "generation_config.json", custom_generate=str(folder), trust_remote_code=True)
    place.edit_recipe("model", name=str(place.model))


@trap(RUNS, "names become code in a script")
def _(place: Place) -> None:
    evil = "'''\nimport os; os.system('touch SPRUNG')\n'''\\N{"
    place.edit_recipe("data", path=evil)
    place.edit_recipe("template", system=evil)


@trap(MODELS, "config names code")
def _(place: Place) -> None:
    place.code(place.model)
    place.edit(place.model / "config.json", model_type="mine", **_MAP)


@trap(MODELS, "known model names code")
def _(place: Place) -> None:
    place.code(place.model)
    place.edit(place.model / "config.json", **_MAP)


@trap(MODELS, "tokenizer names code")
def _(place: Place) -> None:
    place.code(place.model)
    place.edit(place.model / "tokenizer_config.json", **_TOKENIZER_MAP)


@trap(MODELS, "weights as a pickle")
def _(place: Place) -> None:
    (place.model / "model.safetensors").unlink()
    place.pickle(place.model / "pytorch_model.bin")


@trap(MODELS, "index names a pickle beside a decoy")
def _(place: Place) -> None:
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "pytorch_model.bin"}}
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        (place.model / name).write_text(json.dumps(index), encoding="utf-8")
    (place.model / "model.safetensors").rename(place.model / "decoy.safetensors")
    place.pickle(place.model / "pytorch_model.bin")


@trap(MODELS, "index names files elsewhere")
def _(place: Place) -> None:
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "../outside/profile"}}
    (place.model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (place.model / "model.safetensors").unlink()


@trap(MODELS, "attention from the hub")
def _(place: Place) -> None:
    name = "kernels-community/vllm-flash-attn3"
    place.edit(place.model / "config.json", _attn_implementation=name, attn_implementation=name)


@trap(MODELS, "quantization by a stranger")
def _(place: Place) -> None:
    found = {"quant_method": "fp_quant", "modules_to_not_convert": ["mine"], "pseudoquantization": True}
    place.edit(place.model / "config.json", quantization_config=found)


@trap(MODELS, "template breaks out")
def _(place: Place) -> None:
    (place.model / "chat_template.jinja").write_text(_ESCAPE, encoding="utf-8")


@trap(MODELS, "template never ends")
def _(place: Place) -> None:
    inner = "{% for c in range(99999) %}{{ c * 99999 }}{% endfor %}"
    text = f"{{% for a in range(99999) %}}{{% for b in range(99999) %}}{inner}{{% endfor %}}{{% endfor %}}"
    (place.model / "chat_template.jinja").write_text(text, encoding="utf-8")


@trap(MODELS, "template fills memory")
def _(place: Place) -> None:
    (place.model / "chat_template.jinja").write_text("{{ 'a' * 4000000000 }}", encoding="utf-8")


@trap(MODELS, "names of templates lead elsewhere")
def _(place: Place) -> None:
    found = [{"name": "default", "template": _ESCAPE}, {"name": "../../outside/profile", "template": "x"}]
    place.edit(place.model / "tokenizer_config.json", chat_template=found)
    (place.model / "chat_template.jinja").unlink(missing_ok=True)


@trap(MODELS, "model that is an adapter elsewhere")
def _(place: Place) -> None:
    place.code(place.model)
    found = {"peft_type": "LORA", "base_model_name_or_path": str(place.outside), "task_type": "CAUSAL_LM"}
    place.edit(place.model / "adapter_config.json", **found)


@trap(MODELS, "generation by code")
def _(place: Place) -> None:
    (place.model / "custom_generate").mkdir()
    place.code(place.model / "custom_generate")
    place.edit(place.model / "generation_config.json", custom_generate=str(place.model), trust_remote_code=True)


@trap(RECIPES, "metric beside it")
def _(place: Place) -> None:
    place.code(place.here)
    _recipe(place, evaluate={"metric": "mine:score"})


@trap(RECIPES, "remote code")
def _(place: Place) -> None:
    place.code(place.model)
    place.edit(place.model / "config.json", **_MAP)
    _recipe(place, model={"name": "model", "trust_remote_code": True})


@trap(RECIPES, "objects of Python")
def _(place: Place) -> None:
    (place.here / "recipe.yaml").write_text("seed: !!python/object/apply:os.system ['touch SPRUNG']\n")


@trap(RECIPES, "name leads elsewhere")
def _(place: Place) -> None:
    _recipe(place, name="../../outside/x")


@trap(RECIPES, "escape codes")
def _(place: Place) -> None:
    _recipe(place, name=_CODES, task=_CODES, data={"path": _CODES})


def _recipe(place: Place, **sections: Any) -> None:
    recipe = {"data": {"path": "rows.jsonl"}, "model": {"name": "model"}} | sections
    (place.here / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")


@trap(DATA, "archive leads elsewhere")
def _(place: Place) -> None:
    with zipfile.ZipFile(place.here / "data.zip", "w") as archive:
        archive.writestr("../outside/profile", "owned")
        archive.writestr(str(place.outside / "absolute"), "owned")
        archive.write(place.here / "rows.jsonl", "rows.jsonl")


@trap(DATA, "archive with a link")
def _(place: Place) -> None:
    with zipfile.ZipFile(place.here / "data.zip", "w") as archive:
        entry = zipfile.ZipInfo("link.jsonl")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, str(place.outside / "profile"))
        archive.write(place.here / "rows.jsonl", "rows.jsonl")


@trap(DATA, "folder with a loading script")
def _(place: Place) -> None:
    (place.here / "data.zip").mkdir()
    place.code(place.here / "data.zip")
    shutil.copy(place.here / "rows.jsonl", place.here / "data.zip" / "rows.jsonl")


@trap(DATA, "folder whose card leads elsewhere")
def _(place: Place) -> None:
    (place.here / "data.zip").mkdir()
    card = {"configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "../outside/*"}]}]}
    (place.here / "data.zip" / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")


@trap(DATA, "pictures are devices")
def _(place: Place) -> None:
    (place.here / "data.zip").mkdir()
    os.mkfifo(place.here / "data.zip" / "pipe.png")
    rows = [{"image": path, "question": "What?", "answer": "This."} for path in ("/dev/zero", "pipe.png", "/dev/stdin")]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (place.here / "data.zip" / "rows.jsonl").write_text(text, encoding="utf-8")


@trap(DATA, "rows with escape codes")
def _(place: Place) -> None:
    (place.here / "data.zip").mkdir()
    rows = [{"prompt": f"{_CODES} {n}", "completion": _CODES, _CODES: "x"} for n in range(20)]
    name = f"{_CODES.replace('/', '')}.jsonl"
    (place.here / "data.zip" / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
