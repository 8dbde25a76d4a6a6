"""An adapter that another tool has made: a folder with `adapter_config.json` and safetensors weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import ModelError, reason_of
from burnish.visible import parse_json

_UNKNOWN = (
    "rank_pattern",
    "alpha_pattern",
    "layers_to_transform",
    "layer_replication",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "use_qalora",
    "alora_invocation_tokens",
)
"""Settings of PEFT's LoRA that change which weights there are, and for which Burnish has no option."""
_PLAIN_TASKS = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM")
"""PEFT's names of tasks whose models have no output layer of their own."""


@dataclass(frozen=True, slots=True)
class PeftFolder:
    """What an adapter of another tool says of itself."""

    base: str
    """Its base model: a folder or a hub name; empty if it does not say."""
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of Burnish that make the same weights, by dotted name."""
    obstacle: str = ""
    """Why no options of Burnish do, as a clause; empty if some do."""


def read_peft_folder(folder: Path) -> PeftFolder:
    """Reads the settings of a PEFT adapter.

    Raises:
        ModelError: they cannot be read, or it is no LoRA adapter of a model that writes text.
    """
    try:
        config = parse_json((folder / "adapter_config.json").read_text(encoding="utf-8"))
        kind, rank = config["peft_type"], int(config["r"]) if config["peft_type"] == "LORA" else 0
        alpha = float(config.get("lora_alpha", rank))
        saved = list(config.get("modules_to_save") or [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"cannot read the adapter in `{folder}`", reason_of(error), "Copy the whole folder again"
        ) from error
    if kind != "LORA" or config.get("task_type") not in _PLAIN_TASKS:
        raise ModelError(
            f"the adapter in `{folder}` cannot be trained further",
            f"It is of the kind `{kind}` for `{config.get('task_type')}`; of other tools Burnish takes LoRA adapters "
            "of models that write text.",
            "Start from its base model, or merge it with the tool that made it and give the merged folder",
        )
    base = str(config.get("base_model_name_or_path") or "")
    unknown = next((name for name in _UNKNOWN if config.get(name)), "")
    is_whole = alpha.is_integer()
    obstacle = f"the adapter has `{unknown}`, for which Burnish has no option" if unknown else ""
    if not is_whole:
        obstacle = f"its `lora_alpha` is {alpha}, and no whole number"
    return PeftFolder(
        str(Path(base).absolute()) if base and Path(base).is_dir() else base,
        "lora",
        {
            "lora.rank": rank,
            "lora.alpha": int(alpha) if is_whole else alpha,
            "lora.bias": config.get("bias", "none"),
            "lora.targets": _targets(folder, config),
            "lora.rslora": bool(config.get("use_rslora")),
            "lora.dora": bool(config.get("use_dora")),
            "lora.modules_to_save": saved,
            "lora.init": "default",
            "lora.added_tokens": [],
        },
        obstacle,
    )


def _targets(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """The layers of an adapter; where a pattern chose them, by the names of its weights."""
    named = config.get("target_modules")
    if isinstance(named, list):
        return sorted(named)
    from safetensors import safe_open

    with safe_open(str(folder / "adapter_model.safetensors"), framework="np") as weights:
        names = list(weights.keys())
    ending = ".lora_A.weight"
    return sorted({name.removeprefix("base_model.model.").removesuffix(ending) for name in names if ending in name})
