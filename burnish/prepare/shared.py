"""What several runs of one process share and make only once: rows, tokens, the base model, and its values of rows.

Everything is kept under a key of all that it depends on, so a run gets exactly what it would have made by itself. A
network that training changes is given out as a copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from burnish.models.base import BaseModel
from burnish.models.blocks import memory_bytes
from burnish.models.copies import copied, why_not_copied

_Made = TypeVar("_Made")


class Shared:
    """The parts of a preparation that were made so far.

    Args:
        room: bytes that a second copy of the base model may take on the device of the runs.
        most: results of each kind that are kept, the newest; None for all.
    """

    def __init__(self, room: int = 0, most: int | None = None) -> None:
        self.room, self._most = room, most
        self.why_loaded_again = ""
        """Why the base model cannot be kept, in a sentence; empty if it is."""
        self._made: dict[tuple[str, str], Any] = {}
        self._base: tuple[str, BaseModel] | None = None

    def once(self, what: str, key: Any, make: Callable[[], _Made]) -> _Made:
        """What `make` returned for this key, or returns now; None is not kept.

        Args:
            what: kind of the result.
            key: JSON-ready values that determine it.
            make: makes it; nothing may change the result later.
        """
        name = what, _hash(key)
        if name not in self._made:
            made = make()
            if made is None:
                return made
            self._made[name] = made
            alike = [one for one in self._made if one[0] == what]
            for oldest in alike[: len(alike) - (self._most or len(alike))]:
                del self._made[oldest]
        return self._made[name]

    def kept(self, what: str, key: Any) -> Any:
        """What `once` has kept for this key; None if nothing."""
        return self._made.get((what, _hash(key)))

    def base(self, key: Any, load: Callable[[], BaseModel]) -> BaseModel:
        """A base model as if freshly loaded: a copy of the one that is kept, if it has this key.

        Of several, only the last one is kept.

        Args:
            key: JSON-ready values that determine it.
            load: loads it.
        """
        name = _hash(key)
        if self._base is None or self._base[0] != name:
            self._base = None  # freed before the next one is loaded
            base = load()
            self.why_loaded_again = self._why_not_kept(base)
            if self.why_loaded_again:
                return base
            self._base = name, base
        return copied(self._base[1])

    def free_base(self) -> None:
        """Frees the base model, which no further run needs."""
        self._base = None

    def _why_not_kept(self, base: BaseModel) -> str:
        needed = memory_bytes(base.network)
        if needed > self.room:
            return "There is not enough memory to keep the base model beside a run, so every run loads it again."
        reason = why_not_copied(base.network)
        return f"The base model cannot be copied in memory ({reason}), so every run loads it again." if reason else ""


def once(shared: Shared | None, what: str, key: Callable[[], Any], make: Callable[[], _Made]) -> _Made:
    """`Shared.once`; a run by itself makes everything, keeps nothing, and needs no key."""
    return make() if shared is None else shared.once(what, key(), make)


def _hash(key: Any) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, ensure_ascii=True, default=str).encode("ascii")).hexdigest()
