"""Loads the processor of a vision model, which turns images and texts into tensors, by transformers' own classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from burnish.errors import MachineError, ModelError, reason_of
from burnish.models.heads import Head
from burnish.visible import parse_json

IMAGE_TEXT = Head("AutoModelForImageTextToText", "CAUSAL_LM")
"""A vision-language model."""
_PROCESSOR, _PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
_FILES = (_PROCESSOR, _PREPROCESSOR, "video_preprocessor_config.json")


class _WithoutVideos:
    """Allows a processor without the video part, which would need torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """Like the check of transformers, but accepts None for the video part."""
        if argument_name == "video_processor" and argument is None:
            return None
        return super().check_argument_for_proper_class(argument_name, argument)  # type: ignore[misc]


def load_processor(tokenizer: Any) -> Any:
    """Loads the processor for images and text from the folder of a tokenizer.

    Uses the processor's Pillow backend if there is one: it works on every machine and gives the same pixels on all of
    them.

    Args:
        tokenizer: becomes part of the processor and gets the processor's chat template.

    Raises:
        ModelError: there is no such processor, or its class is not part of transformers.
        MachineError: it needs a package that is not installed.
    """
    from transformers import AutoImageProcessor

    folder = Path(tokenizer.name_or_path)
    processor_class = _find_class(folder)
    parts: dict[str, Any] = {"tokenizer": tokenizer, "video_processor": None}
    unknown = [name for name in processor_class.get_attributes() if name not in (*parts, "image_processor")]
    if unknown:
        raise _unusable(folder, f"It also needs inputs other than images and text (`{unknown[0]}`).")
    try:
        parts["image_processor"] = AutoImageProcessor.from_pretrained(
            str(folder), backend="pil", local_files_only=True, trust_remote_code=False
        )
        made = type(processor_class.__name__, (_WithoutVideos, processor_class), {})
        settings, _ = processor_class.get_processor_dict(str(folder), local_files_only=True)
        processor = made.from_args_and_dict([parts[name] for name in processor_class.get_attributes()], settings)
    except ImportError as error:
        raise MachineError(
            f"the processor in `{folder}` needs a package that is not installed",
            reason_of(error),
            "Install it, or use a model whose processor does not need it",
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unusable(folder, reason_of(error)) from error
    tokenizer.chat_template = processor.chat_template or tokenizer.chat_template
    if not tokenizer.chat_template:
        raise _unusable(folder, "It has no chat template, so the place of an image is unknown.")
    if not getattr(processor, "image_token", None):
        raise _unusable(folder, "It has no image token.")
    return processor


def copy_processor(tokenizer: Any, processor: Any, folder: Path) -> None:
    """Copies the processor's files from the tokenizer's folder into the folder of a result.

    Except for the chat template, which the tokenizer writes.
    """
    source = Path(tokenizer.name_or_path)
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    settings = _read(folder / _PROCESSOR)
    if "processor_class" not in settings:
        named = {**settings, "processor_class": type(processor).__name__}
        (folder / _PROCESSOR).write_text(json.dumps(named, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def image_tower(network: Any) -> tuple[str, ...]:
    """Names of the vision modules: the outermost parts that are built from the config's `vision_config`."""
    from transformers import PreTrainedModel

    wanted = type(network.config.vision_config)
    towers = [
        name
        for name, module in network.named_modules()
        if name and isinstance(module, PreTrainedModel) and type(module.config) is wanted
    ]
    outermost = [name for name in towers if not any(name.startswith(f"{other}.") for other in towers)]
    if outermost:
        return tuple(outermost)
    encoder = network.get_encoder(modality="image")
    return tuple(name for name, module in network.named_modules() if name and module is encoder)


def _find_class(folder: Path) -> Any:
    """The class that the files name, else the one for the model type."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    files = (_PROCESSOR, _PREPROCESSOR, "tokenizer_config.json")
    named = (_read(folder / file).get("processor_class") for file in files)
    name = next((name for name in named if name), None)
    if name is None and (folder / "config.json").is_file():
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        if type(config) in PROCESSOR_MAPPING:
            return PROCESSOR_MAPPING[type(config)]
    if name is None:
        raise _unusable(folder, f"Neither `{_PROCESSOR}` nor `{_PREPROCESSOR}` gives its class.")
    if not hasattr(transformers, name):
        raise _unusable(folder, f"transformers has no class `{name}`.")
    return getattr(transformers, name)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        fix = "Download it again from the source of the model"
        raise ModelError(f"`{file}` is not JSON", f"{error}.", fix) from error


def _unusable(folder: Path, reason: str) -> ModelError:
    return ModelError(
        f"cannot use the processor in `{folder}`",
        reason,
        "Copy the processor files of the model into the folder, or use another model",
    )
