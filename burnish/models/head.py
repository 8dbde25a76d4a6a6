"""What a task puts on top of a model's body: which class of transformers, with which settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Head:
    """How a base model is loaded for a task."""

    auto_class: str = "AutoModelForCausalLM"
    """The class of transformers that loads it."""
    peft_type: str | None = "CAUSAL_LM"
    """What PEFT calls such a model (`TaskType`); None where it has no name for it."""
    config: dict[str, Any] = field(default_factory=dict)
    """Changes to the model's config, for example the number of labels."""


CAUSAL = Head()


@dataclass(frozen=True, slots=True)
class Target:
    """What a method is applied to, besides the network itself."""

    peft_type: str | None = "CAUSAL_LM"
    new_modules: tuple[str, ...] = ()
    """Modules that begin at random because the base has no weights for them; any method must train them in full."""
    tokenizer: Any = None
    kept_out: tuple[str, ...] = ()
    """Names of modules that the task wants left as they are: no method may train anything in them."""


def is_supported(head: Head, config: Any) -> bool:
    """Whether transformers has such a head for this kind of model, and the head finds the weights of its body."""
    import transformers

    mapping: Any = getattr(transformers, head.auto_class)._model_mapping
    bodies: Any = transformers.AutoModel._model_mapping
    if type(config) not in mapping:
        return "auto_map" in config.to_dict()
    if head.auto_class != "AutoModelForQuestionAnswering":
        return True
    # Llama's and Qwen's head for question answering gives the body another name than their checkpoints do.
    whole, body = mapping[type(config)], bodies[type(config)]
    return whole.base_model_prefix == body.base_model_prefix or whole.__name__ in (config.architectures or [])
