"""The tokens at which transformers ends the answers of a base model by itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from burnish.errors import ModelError, reason_of
from burnish.models.fingerprint import GENERATION
from burnish.models.generation_settings import check_tokens
from burnish.visible import parse_json


def own_ends(folder: Path, config: Any, tokenizer: Any) -> list[int]:
    """The end tokens of a base model, as its generation settings name them or, if it has none, its config.

    Many chat models have several: GLM ends its answers at the mark of the next role, Llama 3.1 its calls at a token of
    their own. A number that means ordinary text in this vocabulary is not among them: a config keeps the numbers
    of its class where no other was set, and no answer could contain that text.

    Args:
        folder: of the model.
        config: of the model.
        tokenizer: of the model.

    Raises:
        ModelError: the settings cannot be read.
    """
    found = _settings(folder / GENERATION, config).get("eos_token_id")
    listed = found if isinstance(found, list) else [found]
    controls = control_ids(tokenizer)
    return list(dict.fromkeys(number for number in listed if isinstance(number, int) and number in controls))


def control_ids(tokenizer: Any) -> Collection[int]:
    """Tokens that were added to a vocabulary for their own sake: no ordinary text consists of them."""
    return {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}


def _settings(file: Path, config: Any) -> dict[str, Any]:
    """The generation settings in a file or, if there is none, those that transformers takes from the config.

    Raises:
        ModelError: the file is no JSON object, or names tokens otherwise than by numbers.
    """
    if not file.is_file():
        settings = GenerationConfig.from_model_config(config).to_dict()
        check_tokens({"eos_token_id": settings.get("eos_token_id")})
        return settings
    try:
        settings: Any = parse_json(file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it is not an object with settings")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the generation settings of the base model, `{file}`, cannot be read",
            f"{reason_of(error).rstrip('.')}. transformers would leave them out, and answers would not end where they "
            "should.",
            "Correct the file, copy it again from the source of the model, or remove it",
        ) from error
    check_tokens({"eos_token_id": settings.get("eos_token_id")})
    return settings
