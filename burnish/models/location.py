"""Finds base models: bundled, in a local folder, or on the hub."""

from __future__ import annotations

import difflib
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from burnish.errors import ModelError, reason_of
from burnish.models.weight_files import PICKLES, check_weight_files, refuse_pointers, tensor_names, weight_files
from burnish.recipe.schema import BUNDLED_MODELS, ModelSection
from burnish.system.machine import expanded, is_special
from burnish.system.shell import quoted
from burnish.visible import parse_json

_BUNDLED_HINT = "use the bundled model: `--model seedling`"


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """A folder with config, weights and tokenizer, and the name it was requested by."""

    name: str
    folder: Path
    is_hub: bool


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A base model without its weights."""

    location: ModelLocation
    config: Any
    tokenizer: Any


def locate_model(section: ModelSection) -> ModelLocation:
    """Finds the folder of a base model; downloads it from the hub if it is not cached.

    Raises:
        ModelError: no such folder, no such hub model, no network, no tokenizer, or weights that are not
            safetensors files in its folder.
    """
    if section.name in BUNDLED_MODELS:
        return _checked(ModelLocation(section.name, _bundled_folder(section.name), False), section)
    path = expanded(section.name)
    if path.is_dir():
        return _checked(ModelLocation(section.name, path, False), section)
    if path.exists():
        raise _refuse_file(section.name, path)
    if _looks_like_path(section.name):
        raise _missing_folder(section.name)
    return _checked(ModelLocation(section.name, _fetch(section), True), section)


def is_bundled(location: ModelLocation) -> bool:
    """Whether a model came with Burnish, so that an installer put its files there, perhaps as links."""
    return location.name in BUNDLED_MODELS and location.folder == _bundled_folder(location.name)


def _bundled_folder(name: str) -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / name


def find_cached(section: ModelSection) -> Path | None:
    """The folder of a cached hub model; None if it is not cached. Downloads nothing."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(section.name, "config.json", revision=section.revision)
    except HFValidationError:
        return None
    return Path(file).parent if isinstance(file, str) else None


def lacking(location: ModelLocation, section: ModelSection) -> str:
    """A phrase about what is missing of a model; empty if nothing is. Downloads nothing."""
    if not location.folder.is_dir():
        return f"only the config of `{location.name}` is available"
    try:
        _checked(location, section)
    except ModelError as error:
        return error.what
    files = weight_files(location.name, location.folder, section.allow_pickle)
    missing = [file for file in files if not (location.folder / file).is_file()]
    return f"`{missing[0]}` of the model `{location.name}` is missing" if missing else ""


def read_config(location: ModelLocation, section: ModelSection) -> Any:
    """The model's transformers config.

    Raises:
        ModelError: it is invalid, of a kind unknown to transformers, or comes with code that is not trusted.
    """
    from transformers import AutoConfig

    _refuse_depth(location)
    try:
        config = AutoConfig.from_pretrained(
            str(location.folder), trust_remote_code=section.trust_remote_code, local_files_only=True
        )
    except Exception as error:  # damaged files fail anywhere in transformers
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"the config of `{location.name}` comes with its own Python code",
                "Remote code can do anything, so it is not run by default.",
                "If you trust it, add `--trust-remote-code`",
            ) from error
        raise ModelError(
            f"cannot read the config of `{location.name}`",
            reason_of(error).partition(". ")[0].rstrip(".") + ".",
            "Check its `config.json`; a model newer than the installed transformers needs `pip install -U "
            "transformers`",
        ) from error
    _refuse_hub_code(location, config)
    names = config.architectures
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ModelError(
            f"cannot read the config of `{location.name}`",
            f"`architectures` is {names!r}, and not a list of names.",
            "Check its `config.json`, or copy it again from the source of the model",
        )
    return config


_DEEPEST = 10_000
"""More blocks than any model has. Even the config of one with 2^64 would take all memory: it lists them."""


def _refuse_depth(location: ModelLocation) -> None:
    """Raises ModelError for a config with a number of blocks that nothing could build; what is no JSON is left to
    transformers."""
    try:
        config = parse_json((location.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    parts = [config]
    while parts:
        part = parts.pop()
        for name, value in part.items() if isinstance(part, dict) else ():
            if isinstance(value, dict):
                parts.append(value)
            elif ("layer" in name or name == "depth") and isinstance(value, int) and value > _DEEPEST:
                raise ModelError(
                    f"cannot read the config of `{location.name}`",
                    f"`{name}` is {value}, and no model is so deep.",
                    "Check its `config.json`, or copy it again from the source of the model",
                )


def _refuse_hub_code(location: ModelLocation, config: Any) -> None:
    """Raises ModelError for a config with which transformers would fetch compiled code from the hub and run it."""
    for option in ("_attn_implementation", "_experts_implementation"):
        name = getattr(config, option, None)
        if isinstance(name, str) and "/" in name:
            raise ModelError(
                f"the config of `{location.name}` asks for code from the hub: `{name}`",
                "Burnish does not run code from the hub.",
                f"Remove `{option.removeprefix('_')}` and `{option}` from its `config.json`",
            )


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def _missing_folder(name: str) -> ModelError:
    """The error for a missing folder, with a similar name."""
    path = expanded(name)
    if not path.parent.is_dir():
        why, near = f"There is no folder `{path.parent}`.", []
    else:
        why = f"The folder `{path.parent}` has no folder of that name."
        folders = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
        near = difflib.get_close_matches(path.name, folders, n=1)
    meant = f"{name[: len(name) - len(path.name)]}{near[0]}" if near and name.endswith(path.name) else ""
    fix = f"Did you mean `{meant}`?" if meant else f"Check the path, or {_BUNDLED_HINT}"
    return ModelError(f"there is no model folder `{name}`", why, fix)


def _fetch(section: ModelSection) -> Path:
    """The folder of the hub snapshot. Pickles are not downloaded unless allowed."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    ignored = ["*.h5", "*.msgpack", "*.onnx", "*.gguf", "original/*", "*.tflite"]
    if not section.allow_pickle:
        ignored += list(PICKLES)
    cache = constants.HF_HUB_CACHE
    try:
        return Path(snapshot_download(section.name, revision=section.revision, ignore_patterns=ignored))
    except (RepositoryNotFoundError, HFValidationError) as error:
        near = difflib.get_close_matches(section.name, BUNDLED_MODELS, n=1)
        raise ModelError(
            f"there is no model `{section.name}`",
            f"It is not a local folder, and the hub answered: {reason_of(error)}",
            f"Did you mean `{near[0]}`?"
            if near
            else "Check the name, log in for gated models, or use `--model seedling`",
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        near = difflib.get_close_matches(section.name, BUNDLED_MODELS, n=1)
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise ModelError(
            f"cannot find or download the model `{section.name}`",
            f"It is not a local folder, it is not in the cache `{cache}`, and the hub cannot be reached{offline}.",
            f"Did you mean `{near[0]}`?" if near else "Use the bundled model: `--model seedling`",
        ) from error


def _checked(location: ModelLocation, section: ModelSection) -> ModelLocation:
    """Checks that a folder can and may be loaded, before anything heavy is imported."""
    folder, name = location.folder, location.name
    refuse_special(location)
    refuse_pointers(name, folder)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"the folder `{folder}` is not a base model",
            "There is no `config.json` in it.",
            _instead_of(folder),
        )
    _refuse_mlx(name, folder)
    if not has_tokenizer(folder):
        raise ModelError(
            f"the model `{name}` has no tokenizer",
            f"`{folder}` has none of {', '.join(_TOKENIZER_FILES)}.",
            "Copy the tokenizer files of the original model into the folder",
        )
    if not is_bundled(location):
        check_weight_files(name, folder, section.allow_pickle)
    if not weight_files(name, folder, section.allow_pickle):
        _refuse_weights(location, section)
    return location


def _refuse_file(name: str, path: Path) -> ModelError:
    """The error for a file in place of a folder."""
    if path.suffix.lower() == _GGUF:
        return ModelError(
            f"the model `{name}` is a GGUF file",
            "llama.cpp answers with such files; their packed weights cannot be trained.",
            "Give the model that it was made from, as a folder of transformers or a name on the hub",
        )
    return ModelError(
        f"the model `{name}` is a file",
        "A base model is a folder with `config.json`.",
        f"Try `{path.parent}`" if (path.parent / "config.json").is_file() else f"Give a folder, or {_BUNDLED_HINT}",
    )


_GGUF = ".gguf"


def _instead_of(folder: Path) -> str:
    """What to give in place of a folder that is no model."""
    if _is_adapter(folder):
        return "An adapter is not a base model: give the base model it was trained on"
    if below := _models_below(folder):
        return f"Try `{below[0]}`" + (f", the latest of {len(below)}" if len(below) > 1 else "")
    if any(folder.glob(f"*{_GGUF}")):
        return "GGUF files are for llama.cpp and cannot be trained: give the model that they were made from"
    return f"Give a folder in transformers' format, or {_BUNDLED_HINT}"


def _models_below(folder: Path) -> list[Path]:
    """Folders with a model or an adapter inside this one, the latest first: a cache of the hub keeps its models in
    `snapshots`, and other trainers theirs in `checkpoint-NUMBER`."""
    below = [entry for entry in folder.iterdir() if entry.is_dir()]
    snapshots = folder / "snapshots"
    below += [entry for entry in snapshots.iterdir() if entry.is_dir()] if snapshots.is_dir() else []
    found = [entry for entry in below if (entry / "config.json").is_file() or _is_adapter(entry)]
    return sorted(found, key=lambda entry: (_number(entry.name), entry.stat().st_mtime), reverse=True)


def _number(name: str) -> int:
    """The step in the name of a checkpoint; 0 for others."""
    last = name.rpartition("-")[2]
    return int(last) if last.isdecimal() else 0


def _refuse_mlx(name: str, folder: Path) -> None:
    """Raises ModelError for weights that MLX has quantized: transformers has no form for them."""
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # whoever reads the config reports it
    settings = config.get("quantization") if isinstance(config, dict) else None
    if not isinstance(settings, dict) or "bits" not in settings:
        return
    if not any(one.endswith(".scales") for one in tensor_names(folder)):
        return
    raise ModelError(
        f"the model `{name}` is quantized by MLX",
        f"Its weights are packed into {settings['bits']} bits for Apple's MLX, and neither transformers nor Burnish "
        "can train them.",
        "Give the model that it was made from; `--method qlora` then trains it with weights in 4 bits",
    )


def refuse_special(location: ModelLocation) -> None:
    """Raises ModelError for a folder with a pipe or a device, which transformers would open by its name."""
    entries = list(location.folder.iterdir())
    below = [path for entry in entries if entry.is_dir() for path in entry.iterdir()]
    if special := next(filter(is_special, (*entries, *below)), None):
        raise ModelError(
            f"the folder of the model `{location.name}` holds `{special.relative_to(location.folder)}`, which is a "
            "pipe or a device",
            "Models consist of files, and reading this may never end.",
            f"Remove it: `rm {quoted(str(special))}`",
        )


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def has_tokenizer(folder: Path) -> bool:
    """Whether a model folder has the files of a tokenizer, which may be damaged."""
    return any((folder / file).is_file() for file in _TOKENIZER_FILES)


def chat_templates(folder: Path) -> list[str]:
    """Texts of the chat templates in a model folder; what cannot be read is left to the loading of its tokenizer."""
    paths = [folder / "chat_template.jinja", *sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    texts = list[str]()
    for path in filter(Path.is_file, paths):
        with suppress(OSError, ValueError):
            texts.append(path.read_text(encoding="utf-8"))
    for name in ("tokenizer_config.json", "chat_template.json"):
        with suppress(OSError, ValueError, RecursionError, AttributeError):
            found = parse_json((folder / name).read_text(encoding="utf-8")).get("chat_template")
            named = found if isinstance(found, list) else [{"template": found}]
            texts += [text for one in named if isinstance(text := one.get("template"), str)]
    return texts


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _refuse_weights(location: ModelLocation, section: ModelSection) -> None:
    """Says why a folder has no weights that may be loaded."""
    names = sorted(file.name for pattern in ("*.safetensors", *PICKLES) for file in location.folder.glob(pattern))
    pickles = [name for name in names if not name.endswith(".safetensors")]
    if pickles and not section.allow_pickle:
        raise ModelError(
            f"the model `{location.name}` has only pickled weights (`{pickles[0]}`)",
            "A pickle can run any code when it is loaded, so it is refused by default.",
            "Convert it to safetensors, or, if you trust it, add `--allow-pickle`",
        )
    raise ModelError(
        f"the model `{location.name}` has no weights",
        f"`{names[0]}` in `{location.folder}` is not named as transformers expects, `model.safetensors`, nor is there "
        "an index that names it."
        if names
        else f"There is no `.safetensors` file in `{location.folder}`.",
        "Use the bundled model: `--model seedling`"
        if not location.is_hub
        else "Choose a model with safetensors weights",
    )
