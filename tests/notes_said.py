"""The notes that `check` and `train` give for the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import burnish
from burnish.runs.events import Event, Note
from tests.tiny_models import make_network, save_model


def notes_of_check_and_train(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[list[str]]:
    """The notes of `check`, and those of a training of one step, with a tiny model in the current folder."""
    save_model(Path("model"), make_network("llama"), tokenizer)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    events: list[Event] = []
    burnish.check_data("rows.jsonl", model="model", listeners=[events.append])
    number = len(events)
    sets = {"evaluate.answers": 0, "evaluate.general": "none"}
    burnish.train("rows.jsonl", model="model", device="cpu", max_steps=1, set=sets, listeners=[events.append])
    return [[event.text for event in part if isinstance(event, Note)] for part in (events[:number], events[number:])]
