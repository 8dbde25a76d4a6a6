"""Labels of a base model that was already trained as a classifier: its outputs are matched with a run's by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from burnish.models.heads import Head

_OPTIONS = ("num_labels", "id2label", "label2id")


def has_trained_head(config: Any, head: Head) -> bool:
    """Whether a model was saved with a head for labels of the class that a task loads."""
    import transformers

    mapping: Any = getattr(transformers, head.auto_class)._model_mapping
    saved_from = (config.architectures or [""])[0]
    return "id2label" in head.config and type(config) in mapping and mapping[type(config)].__name__ == saved_from


def order_of_labels(config: Any, head: Head) -> list[int] | None:
    """For each label of a run, its place among those of a trained head; None if one is not among them.

    A name may be written in other case; `LABEL_3`, transformers' name for a label without one, is the label `3`.

    Args:
        config: the model's own config.
        head: with the labels of the run.
    """
    own = [str(config.id2label[number]) for number in sorted(config.id2label, key=int)]
    places = {name: number for number, name in reversed(list(enumerate(own)))}
    folded = {_folded(name): number for number, name in reversed(list(enumerate(own)))}
    is_clear = len(folded) == len(own)
    found = []
    for label in head.config["id2label"].values():
        place = places.get(label, folded.get(_folded(label)) if is_clear else None)
        if place is None or place in found:
            return None
        found.append(place)
    return found


def _folded(name: str) -> str:
    return name.casefold().removeprefix("label_")


def without_labels(head: Head) -> dict[str, Any]:
    """The head's changes to a config, but for its labels."""
    return {name: value for name, value in head.config.items() if name not in _OPTIONS}


@torch.no_grad()
def take_outputs(network: Any, order: Sequence[int], head: Head) -> None:
    """Keeps the outputs of a trained head at these places, in this order, and names them as the head says."""
    layer = _output_layer(network)
    layer.weight = nn.Parameter(layer.weight[list(order)].clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[list(order)].clone())
    layer.out_features = network.num_labels = len(order)
    network.config.id2label = dict(head.config["id2label"])
    network.config.label2id = dict(head.config["label2id"])


@torch.no_grad()
def begin_again(network: Any) -> list[str]:
    """Gives the output layer of a trained head random weights. Returns the names of its weights."""
    layer = _output_layer(network)
    nn.init.normal_(layer.weight, std=getattr(network.config, "initializer_range", 0.02))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    own = {id(weight) for weight in layer.parameters()}
    return [name for name, weight in network.named_parameters() if id(weight) in own]


def _output_layer(network: Any) -> Any:
    """The last linear layer outside of the body, with an output per label."""
    body = f"{network.base_model_prefix}."
    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == network.config.num_labels
        and not name.startswith(body)
    ][-1]
