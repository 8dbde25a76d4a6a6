"""What happened in a run, in sentences, and what its model answered on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.studio.parts import group, part, prose

_SAMPLED = "Sampled"


def sentences(events: Sequence[dict[str, Any]]) -> list[tuple[float, str, str]]:
    """The events of a run as sentences, with their times and levels; of the checkpoints only the last."""
    saved = [event for event in events if event["event"] == "CheckpointSaved"][-1:]
    others = [event for event in events if event["event"] != "CheckpointSaved"]
    found = [(float(event.get("time") or 0.0), *_sentence_of(event)) for event in [*others, *saved]]
    return [(time_of, level, text) for time_of, level, text in found if text]


def _sentence_of(event: dict[str, Any]) -> tuple[str, str]:
    """Level and sentence of an event; no sentence for those that say in numbers what others say."""
    match event["event"]:
        case "Stage":
            return "info", f"Now: {event.get('name', '')}."
        case "Note":
            return "info", str(event.get("text", ""))
        case "Warned":
            return "warn", str(event.get("text", ""))
        case "Diagnosed":
            name, advice = str(event.get("name", "")).replace("-", " "), str(event.get("advice", ""))
            return ("warn" if advice else "info"), f"{name.capitalize()}: {event.get('evidence', '')}. {advice}".strip()
        case "Spiked":
            return "warn", f"An outlier at step {event.get('step')}: {event.get('what')}."
        case "CheckpointSaved":
            return "info", f"Checkpoint saved at step {event.get('step')}."
        case "StoppedEarly" | "Adapted":
            return "info", f"Step {event.get('step')}: {event.get('reason', '')}."
        case _:
            return "info", ""


def draw_events(said: Sequence[tuple[str, str]]) -> None:
    if not said:
        prose("Nothing yet.", "help")
    with group("findings", "ul"):
        for level, text in said:
            with group("", "li"):
                if level != "info":
                    part("span", "finding " if level == "warn" else "error ", "kind")
                prose(text, name="span")


def samples_of(events: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The answers of the base model to the watched rows, and the newest of the trained one; None where there are none
    yet."""
    sampled = [event for event in events if event["event"] == _SAMPLED]
    base = next((event for event in sampled if event.get("step") == 0), None)
    newest = next((event for event in reversed(sampled) if event.get("step")), None)
    return base, newest


def draw_samples(base: Mapping[str, Any] | None, newest: Mapping[str, Any] | None) -> None:
    """The watched rows with what is expected, what the base said and what the model says now."""
    rows = (newest or base or {}).get("answers") or []
    if not rows:
        prose("Nothing yet: they come with the first validation, if `evaluate.samples` is above 0.", "help")
        return
    before = {one["place"]: one["given"] for one in (base or {}).get("answers", ())}
    now = f"after step {newest['step']:,}" if newest else ""
    for row in rows:
        with group("answer", "article"):
            part("p", row["prompt"].strip() or "(nothing)", "said strong clipped")
            with group("sides"):
                sides = [("expected", row["expected"]), ("base", before.get(row["place"]))]
                for title, text in [*sides, (now, row["given"] if newest else None)]:
                    if text is not None:
                        right = " right" if title == now and text.strip() == row["expected"].strip() else ""
                        with group(f"side{right}"):
                            part("h3", title)
                            part("div", text.strip() or "(nothing)", "said clipped")
