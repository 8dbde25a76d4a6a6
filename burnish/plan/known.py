"""Measurements of runs on this machine, cached between commands, one small file each."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from burnish.errors import MachineError
from burnish.runs.atomic import remove_abandoned, write_json
from burnish.system.machine import cache_folder
from burnish.visible import parse_json


@dataclass(frozen=True, slots=True)
class KnownPace:
    """What a run takes, from its trial."""

    seconds_per_token: float
    """Of training, for each token of the network's input, padding included."""
    validation_token: float
    """Seconds for each token of validation rows, padding included."""
    prompt_token: float
    """Seconds for each token of the prompts of generated answers; 0 if there are none."""
    new_token: float
    """Seconds for the next token of a batch of answers; 0 if there are none."""
    loading: float
    """Seconds of loading the base model."""
    checkpoint: int
    """Bytes of a checkpoint."""
    grown: int
    """Bytes by which the process grew."""
    others: float
    """Share of the processor that other programs used meanwhile, 0 to 1."""
    packing: bool
    """Whether examples were packed; only the loaded model shows whether they can be."""
    micro_tokens: int
    """Maximum tokens of a micro-batch; fewer than planned if the step ran out of memory."""
    measured: float
    """Time of the measurement, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values are plausible for a run."""
        seconds = (self.seconds_per_token, self.validation_token, self.prompt_token, self.new_token, self.loading)
        amounts = (*seconds, self.others, self.checkpoint, self.grown)
        return (
            isinstance(self.packing, bool)
            and isinstance(self.micro_tokens, int)
            and self.micro_tokens > 0
            and all(math.isfinite(one) and one >= 0 for one in amounts)
            and self.seconds_per_token > 0
            and 0 < self.measured <= time.time()
        )


@dataclass(frozen=True, slots=True)
class KnownTrial:
    """The result of a trial of compiled steps."""

    compiling: float
    """Seconds of compiling."""
    saved: float
    """Share of a step's time saved, minus the noise; below 0 if they may take longer."""
    measured: float
    """Time of the measurement, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values are plausible for a trial."""
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
    """The cache key of a pace: a hash of everything that the speed of a step depends on.

    Args:
        ingredients: JSON-ready values.
    """
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def find_pace(key: str) -> KnownPace | None:
    """The cached pace of a key; None if there is none, or its file is damaged."""
    return _find(key, KnownPace)


def find_trial(key: str) -> KnownTrial | None:
    """The cached trial of a key; None if there is none, or its file is damaged."""
    return _find(key, KnownTrial)


def keep_pace(key: str, pace: KnownPace) -> str:
    """Caches a pace, replacing an older one.

    Returns:
        Why it could not be cached; empty on success.
    """
    return _keep(key, pace)


def keep_trial(key: str, trial: KnownTrial) -> str:
    """Caches a trial of compiled steps, replacing an older one.

    Returns:
        Why it could not be cached; empty on success.
    """
    return _keep(key, trial)


def remove_unfinished() -> None:
    """Removes what killed processes left of paces and trials that they were writing; nothing if there is no cache."""
    with suppress(OSError, RuntimeError):
        for name in _FOLDERS.values():
            remove_abandoned(cache_folder() / name)


def _find(key: str, kind: type[_Known]) -> _Known | None:
    try:
        values = parse_json(_file(key, kind).read_text(encoding="utf-8"))
        known = kind(**values)
        return known if known.is_sound else None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError):
        return None


def _keep(key: str, known: KnownPace | KnownTrial) -> str:
    try:
        file = _file(key, type(known))
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished()
        write_json(file, asdict(known))
    except (OSError, RuntimeError, MachineError) as error:
        return str(error)
    return ""


def _file(key: str, kind: type[KnownPace | KnownTrial]) -> Path:
    return cache_folder() / _FOLDERS[kind] / f"{key}.json"
