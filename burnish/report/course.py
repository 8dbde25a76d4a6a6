"""How a run went: its curves, the findings on it, and what it took next to what was planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from burnish.report.charts import PART_COLOURS, memory_bars
from burnish.report.curves import Losses, loss_chart, small_curves
from burnish.report.figures import counted, duration, error_of, number
from burnish.report.record import RunRecord, bare_place
from burnish.system.machine import memory_size

_SPIKES_SHOWN, _ROWS_SHOWN, _WARNINGS_SHOWN = 20, 6, 30


def curves(record: RunRecord) -> dict[str, Any]:
    """Losses over the steps, the checkpoint that was kept, and small curves beside them."""
    losses = Losses.of(record)
    columns, validations = _validations(record)
    return {
        "chart": loss_chart(losses),
        "legend": _legend(losses),
        "small_charts": small_curves(record),
        "columns": columns,
        "validations": validations,
    }


def findings(record: RunRecord) -> dict[str, Any]:
    """The diagnosis in words; outlier steps with their rows; and every warning."""
    ended = [f"Stopped at step {one['step']:,}: {one['reason']}" for one in record.all("StoppedEarly")]
    adapted = [_adapted(one) for one in record.all("Adapted")]
    halved = [
        f"Memory ran out at step {one['step']:,}; from there on a micro-batch held at most {one['tokens_after']:,} "
        f"tokens instead of {one['tokens_before']:,}. The result is the same."
        for one in record.all("MicroBatchHalved")
    ]
    warnings = list(dict.fromkeys([*adapted, *ended, *halved, *(one["text"] for one in record.all("Warned"))]))
    spikes = record.all("Spiked")
    more = len(spikes) - _SPIKES_SHOWN
    return {
        "diagnosed": [
            {"title": _title(one), "evidence": _sentence(one["evidence"]), "advice": _sentence(one["advice"])}
            for one in record.all("Diagnosed")
        ],
        "spikes": _spikes(spikes),
        "more_spikes": f"{counted(more, 'more step')} {'is' if more == 1 else 'are'}" if more > 0 else "",
        "warnings": warnings[:_WARNINGS_SHOWN],
    }


def plan(record: RunRecord) -> dict[str, Any]:
    """Memory and time as they were planned, next to what was measured."""
    planned, hoped = record.last("MemoryPlanned"), record.last("TimePlanned")
    kinds = ("Memory", "Resident", "Time", "Command")
    tensors, resident, time, command = (record.last(f"{kind}Measured") for kind in kinds)
    rows = [
        _compared("tensors at the peak of a step", tensors, memory_size),
        _compared("memory of the process at its peak", resident, memory_size),
        _compared("training time", time, duration),
        _compared("from the command to this report", command, duration),
    ]
    if hoped and not time:
        rows.append(["training time", duration(hoped["seconds"]), "not measured: it did not run as planned", ""])
    found: dict[str, Any] = {"is_planned": bool(planned), "bounded": "", "compared": [row for row in rows if row]}
    bounded = record.last("MemoryBounded")
    if bounded and not planned:
        sizes = memory_size(bounded["at_most"]), memory_size(bounded["room"])
        found["bounded"] = f"A step takes at most {sizes[0]}, of {sizes[1]} available, so it was not simulated."
    if planned:
        found["chart"] = memory_bars(_parts(planned), resident.get("measured"), planned["room"])
        found["legend"] = _colours(planned)
        found["parts"] = _peak_in_numbers(planned)
    return found


def _legend(losses: Losses) -> list[tuple[str, str]]:
    """The class of each mark of the loss chart, and what it means."""
    window = losses.window
    of = f", mean of the last {window} steps" if window > 1 else ""
    keys = [
        ("key-dot", "a training step", losses.training),
        ("key-mean", f"training{of}", losses.training),
        ("key-held", "validation rows", losses.held_out),
        ("key-band", "95 % interval of the difference from the base", len(losses.band) > 1),
        ("key-spike", "an outlier", losses.spikes),
        ("key-kept", "the checkpoint that was kept as the result", losses.kept is not None),
    ]
    return [(kind, words) for kind, words, is_drawn in keys if is_drawn]


def _validations(record: RunRecord) -> tuple[list[str], list[list[str]]]:
    names = list(dict.fromkeys(name for line in record.validations for name in line["figures"]))
    rows = [
        [
            f"{line['step']:,}" + (" (kept)" if line["step"] == record.best_step else ""),
            number(line["loss"]),
            *(number(line["figures"].get(name)) for name in names),
        ]
        for line in record.validations
    ]
    return ["step", "eval loss", *names], rows


def _adapted(event: Mapping[str, Any]) -> str:
    how = f", with the learning rate at {event['learning_rate']:.2g}" if event["factor"] != 1 else ""
    return f"Went on at step {event['step']:,}, to step {event['total_steps']:,}{how}: {_sentence(event['reason'])}"


def _title(finding: Mapping[str, Any]) -> str:
    return f"{finding['name'].replace('-', ' ').capitalize()} (step {finding['step']:,})."


def _sentence(text: str) -> str:
    """The text as a sentence; empty where it is."""
    begun = text[:1].upper() + text[1:]
    return begun if not text or text.endswith((".", "!", "?")) else f"{begun}."


def _spikes(spikes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows = []
    for one in spikes[:_SPIKES_SHOWN]:
        more = len(one["rows"]) - _ROWS_SHOWN
        named = ", ".join(map(bare_place, one["rows"][:_ROWS_SHOWN]))
        rows.append([
            f"{one['step']:,}", one["what"], f"{one['value']:.3g}", f"{one['usual']:.3g}",
            named + (f" and {more} more" if more > 0 else ""),
        ])  # fmt: skip
    return rows


def _compared(name: str, measured: Mapping[str, Any], spell: Callable[[Any], str]) -> list[str]:
    """A line of the table; empty where it was not measured."""
    if not measured:
        return []
    before, after = measured["predicted"], measured["measured"]
    return [name, spell(before), spell(after), error_of(before, after)]


def _parts(planned: Mapping[str, Any]) -> dict[str, int]:
    return {**planned["parts"], "allocator": planned["allocator"], **planned["overheads"]}


def _colours(planned: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The colour of each part of the planned peak, and its name and size."""
    sizes = [(name, size) for name, size in _parts(planned).items() if size > 0]
    return [(place % PART_COLOURS, f"{name} {memory_size(size)}") for place, (name, size) in enumerate(sizes)]


def _peak_in_numbers(planned: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parts of the planned peak, and the micro-batch that they belong to."""
    again = ", with gradient checkpointing" if planned["checkpointing"] else ""
    return [
        *((name, memory_size(size)) for name, size in _parts(planned).items() if size),
        ("limit", f"{memory_size(planned['room'])}: {planned['room_reason']}"),
        ("micro-batch", f"{planned['micro_rows']:,} × {planned['context']:,} tokens{again}"),
    ]
