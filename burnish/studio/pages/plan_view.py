"""A plan as a page shows it: what it takes in memory and time, and why each choice was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from burnish.recipe.schema import BUNDLED_MODELS
from burnish.report.figures import duration
from burnish.studio.estimate import Estimate
from burnish.studio.parts import details, facts, group, loading, markup, notice, part
from burnish.system.machine import memory_size

_COLOURS = 8


def draw_memory(found: Mapping[str, Any]) -> None:
    """The memory as a sentence and as a bar against what is free."""
    peak, room = found["peak"], found["room"]
    fits = peak <= room
    said = f"It fits: about {memory_size(peak)} of {memory_size(room)} that are free."
    over = f"It does not fit: about {memory_size(peak)}, and {memory_size(room)} are free."
    notice(said if fits else over, "good" if fits else "bad", "status")
    markup(memory_bar(found["memory"], max(room, peak)))


def draw_estimate(made: Estimate) -> None:
    """What the memory may be, while it is simulated: in other words and colours than a plan."""
    peak, room = memory_size(made.peak), memory_size(made.room)
    said = f"An estimate: about {peak} of {room} that are free. Working it out exactly."
    over = f"An estimate: about {peak}, and {room} are free, so it may not fit. This is being checked."
    notice(said if made.fits else over, "note" if made.fits else "warning", "status")
    with group("estimated"):
        markup(memory_bar(made.memory, max(made.room, made.peak), "Estimated memory"))
    loading("Simulating a step")


def draw_time(found: Mapping[str, Any]) -> None:
    """How long it takes, and of what it is made."""
    run, after = found.get("run") or {}, found.get("evaluation") or {}
    seconds, speed = run.get("seconds"), found.get("tokens_per_second")
    facts(
        [
            ("training", f"about {duration(seconds)}" if seconds else f"unknown {found.get('why_no_time') or ''}"),
            ("then evaluation", f"about {duration(after['seconds'])}" if after.get("seconds") else ""),
            ("steps", f"{found['steps']:,} of {found['step_tokens']:,} tokens" if found.get("steps") else ""),
            ("speed", f"{speed:,.0f} tokens per second, {found['time_source']}" if speed else ""),
            ("model", f"{_short(found['model'])}, {found['parameters']:,} parameters"),
            ("task", found["task"]),
            ("method", found["method"]),
            ("device", found["device"]),
        ]
    )


def draw_choices(found: Mapping[str, Any]) -> None:
    """What was chosen, and why."""
    with details("Why Burnish chose this"), group("facts", "dl"):
        for one in found["choices"]:
            with group():
                part("dt", one["option"])
                part("dd", f"{_short(str(one['value']))}: {one['reason']}")


def memory_bar(parts: Mapping[str, int], whole: int, called: str = "Memory") -> Markup:
    """The parts of the memory as a bar against what is free, and what each colour is."""
    sizes = [(name, size) for name, size in parts.items() if size > 0]
    bar = Markup("").join(
        Markup('<span class="part{}" style="width:{}%" title="{}: {}"></span>').format(
            place % _COLOURS, round(100 * size / max(1, whole), 2), name, memory_size(size)
        )
        for place, (name, size) in enumerate(sizes)
    )
    keys = Markup("").join(
        Markup('<li><i class="part{}"></i>{} {}</li>').format(place % _COLOURS, name, memory_size(size))
        for place, (name, size) in enumerate(sizes)
    )
    said = ", ".join(f"{name} {memory_size(size)}" for name, size in sizes)
    return Markup('<div class="memory" role="img" aria-label="{}: {}">{}</div><ul class="memory-key">{}</ul>').format(
        called, said, bar, keys
    )


def _short(name: str) -> str:
    return name if name in BUNDLED_MODELS or len(name) <= 60 else f"…{name[-58:]}"
