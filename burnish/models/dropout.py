"""The dropout that a model's config asks for."""

from __future__ import annotations

import copy
from typing import Any


def has_dropout(config: Any) -> bool:
    """Whether any part of a model drops something in training."""
    return any(True for part in _parts(config) for _ in _options(part))


def without_dropout(config: Any) -> Any:
    """A copy of a config that drops nothing."""
    changed = copy.deepcopy(config)
    for part in _parts(changed):
        for name in list(_options(part)):
            setattr(part, name, 0.0)
    return changed


def _parts(config: Any) -> list[Any]:
    """The config and those of its parts, for example of text and pictures."""
    nested = [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    return [config, *(part for one in nested if one is not None for part in _parts(one))]


def _options(config: Any) -> list[str]:
    """Names of the shares above 0: `resid_pdrop`, `attention_dropout`, `layerdrop` and the like."""
    values = vars(config).items()
    return [name for name, value in values if "drop" in name and isinstance(value, float) and value > 0]
