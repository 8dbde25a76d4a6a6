"""How fast steps were that were measured on this machine, kept between commands: one small file each.

Whatever happens to the files costs no more than measuring again.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from burnish.errors import MachineError
from burnish.machine import cache_folder
from burnish.runs.atomic import write_json


@dataclass(frozen=True, slots=True)
class KnownPace:
    """What a measured step told."""

    seconds_per_token: float
    """For each token that goes through the network, padding included."""
    packing: bool
    """Whether examples shared rows; only a loaded model tells whether they may."""
    micro_tokens: int
    """Most tokens of a micro-batch; fewer than planned where the step ran out of memory."""
    measured: float
    """When, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values can be what a step told."""
        return (
            isinstance(self.packing, bool)
            and isinstance(self.micro_tokens, int)
            and self.micro_tokens > 0
            and math.isfinite(self.seconds_per_token)
            and self.seconds_per_token > 0
            and 0 < self.measured <= time.time()
        )


@dataclass(frozen=True, slots=True)
class KnownTrial:
    """What trying compiled steps told."""

    compiling: float
    """Seconds until they ran."""
    saved: float
    """Share of a step's time that they save for sure; below 0 where they may take longer."""
    measured: float
    """When, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values can be what a trial told."""
        return (
            math.isfinite(self.compiling)
            and self.compiling >= 0
            and math.isfinite(self.saved)
            and self.saved < 1
            and 0 < self.measured <= time.time()
        )


_Known = TypeVar("_Known", KnownPace, KnownTrial)
_FOLDERS = {KnownPace: "paces", KnownTrial: "trials"}


def pace_key(ingredients: Mapping[str, Any]) -> str:
    """The name under which a pace is kept: a hash of everything that the speed of a step follows from.

    Args:
        ingredients: JSON-ready values.
    """
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def find_pace(key: str) -> KnownPace | None:
    """The pace that is kept under a key; None where there is none, or its file is damaged."""
    return _find(key, KnownPace)


def find_trial(key: str) -> KnownTrial | None:
    """The trial of compiled steps that is kept under a key; None where there is none, or its file is damaged."""
    return _find(key, KnownTrial)


def keep_pace(key: str, pace: KnownPace) -> str:
    """Keeps a pace, in place of an older one.

    Returns:
        Why it could not be kept, in words; empty where it was.
    """
    return _keep(key, pace)


def keep_trial(key: str, trial: KnownTrial) -> str:
    """Keeps a trial of compiled steps, in place of an older one.

    Returns:
        Why it could not be kept, in words; empty where it was.
    """
    return _keep(key, trial)


def _find(key: str, kind: type[_Known]) -> _Known | None:
    try:
        told = json.loads(_file(key, kind).read_text(encoding="utf-8"))
        known = kind(**told)
        return known if known.is_sound else None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError):
        return None


def _keep(key: str, known: KnownPace | KnownTrial) -> str:
    try:
        file = _file(key, type(known))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(known))
    except (OSError, RuntimeError, MachineError) as error:
        return str(error)
    return ""


def _file(key: str, kind: type[KnownPace | KnownTrial]) -> Path:
    return cache_folder() / _FOLDERS[kind] / f"{key}.json"
