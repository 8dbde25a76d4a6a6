"""How a run went: its curves, what was found on the way, and what it took next to what was planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report.charts import PART_COLOURS, memory_bars
from burnish.report.curves import Losses, loss_chart, small_curves
from burnish.report.figures import counted, duration, error_of, number
from burnish.report.markup import Html, Section, facts, figure, items, join, paragraph, prose, table, tag, unfold
from burnish.report.record import RunRecord, bare_place
from burnish.system.machine import memory_size

_SPIKES_SHOWN, _ROWS_SHOWN, _CAUTIONS_SHOWN = 20, 6, 30


def curves(record: RunRecord) -> Section:
    """Losses over the steps, the checkpoint that was kept, and small curves beside them."""
    losses = Losses.of(record)
    chart = loss_chart(losses)
    if not chart:
        return Section("curves", "Curves", paragraph("No step has been taken yet."))
    parts = [
        figure(chart, _legend(losses)),
        tag("div", small_curves(record), class_="small-curves"),
        unfold("The validations in figures", _validations(record)) if record.validations else "",
    ]
    return Section("curves", "Curves", join(parts))


def findings(record: RunRecord) -> Section:
    """How the run went, in plain words; steps that stand out, with their rows; and what else was warned of."""
    diagnosed = [
        tag(
            "li",
            join([tag("strong", _title(one)), prose(_sentence(one["evidence"])), prose(_sentence(one["advice"]))], " "),
        )
        for one in record.all("Diagnosed")
    ]
    ended = [f"Stopped at step {one['step']:,}: {one['reason']}" for one in record.all("StoppedEarly")]
    halved = [
        f"Memory ran out at step {one['step']:,}; a micro-batch then held at most {one['tokens_after']:,} tokens "
        f"instead of {one['tokens_before']:,}. The result is the same."
        for one in record.all("MicroBatchHalved")
    ]
    cautions = list(dict.fromkeys([*ended, *halved, *(one["text"] for one in record.all("Warned"))]))
    spikes = record.all("Spiked")
    parts = [
        tag("ul", join(diagnosed), class_="findings") if diagnosed else "",
        paragraph("Nothing was found to say about how this run went.") if not diagnosed else "",
        join([tag("h3", "Steps that stand out"), _spikes(spikes)]) if spikes else "",
        join([tag("h3", "Cautions"), items(map(prose, cautions[:_CAUTIONS_SHOWN]))]) if cautions else "",
    ]
    return Section("findings", "How it went", join(parts))


def plan(record: RunRecord) -> Section:
    """Memory and time as they were planned, next to what was measured."""
    planned = record.last("MemoryPlanned")
    tensors, resident, time = (record.last(f"{kind}Measured") for kind in ("Memory", "Resident", "Time"))
    rows = [
        _compared("tensors at the peak of a step", tensors, memory_size),
        _compared("memory of the process while training", resident, memory_size),
        _compared("time of training", time, duration),
    ]
    told = [row for row in rows if row]
    hoped = record.last("TimePlanned")
    if hoped and not time:
        told.append(["time of training", duration(hoped["seconds"]), "not measured: it did not run as planned", ""])
    parts = [
        figure(_memory(planned, resident), _keys(planned)) if planned else "",
        table(["", "planned", "measured", "error of the plan"], told, figures=(1, 2, 3)) if told else "",
        _figures(planned) if planned else "",
    ]
    shown = join(parts) if planned or told else paragraph("Nothing was planned, or the plan was not written down.")
    return Section("plan", "Plan against measured", shown)


def _legend(losses: Losses) -> Html:
    window = losses.window
    of = f", mean of the last {window} steps" if window > 1 else ""
    keys = [
        ("key-dot", "a training step") if losses.training else None,
        ("key-mean", f"training{of}") if losses.training else None,
        ("key-held", "held-out rows") if losses.held_out else None,
        ("key-band", "95 % interval of the difference from the base") if len(losses.band) > 1 else None,
        ("key-spike", "a step that stands out") if losses.spikes else None,
        ("key-kept", "the checkpoint that is the result") if losses.kept is not None else None,
    ]
    entries = [join([tag("i", class_=key[0]), key[1]], "") for key in keys if key]
    return tag("span", join(tag("span", entry) for entry in entries), class_="legend")


def _validations(record: RunRecord) -> Html:
    names = list(dict.fromkeys(name for line in record.validations for name in line["figures"]))
    rows = [
        [
            f"{line['step']:,}" + (" (kept)" if line["step"] == record.best_step else ""),
            number(line["loss"]),
            *(number(line["figures"].get(name)) for name in names),
        ]
        for line in record.validations
    ]
    return table(["step", "held-out loss", *names], rows, figures=range(len(names) + 2))


def _title(finding: Mapping[str, Any]) -> str:
    return f"{finding['name'].replace('-', ' ').capitalize()} (step {finding['step']:,})."


def _sentence(text: str) -> str:
    """The text as a sentence; nothing of nothing."""
    begun = text[:1].upper() + text[1:]
    return begun if not text or text.endswith((".", "!", "?")) else f"{begun}."


def _spikes(spikes: Sequence[Mapping[str, Any]]) -> Html:
    rows = []
    for one in spikes[:_SPIKES_SHOWN]:
        more = len(one["rows"]) - _ROWS_SHOWN
        named = ", ".join(map(bare_place, one["rows"][:_ROWS_SHOWN]))
        rows.append([
            f"{one['step']:,}", one["what"], f"{one['value']:.3g}", f"{one['usual']:.3g}",
            named + (f" and {more} more" if more > 0 else ""),
        ])  # fmt: skip
    left = len(spikes) - _SPIKES_SHOWN
    told = paragraph(f"{counted(left, 'more spike')} in events.jsonl.", "note") if left > 0 else ""
    return join([table(["step", "what", "value", "usual", "rows of that step"], rows, figures=(0, 2, 3)), told])


def _compared(name: str, told: Mapping[str, Any], spell: Any) -> list[str]:
    """A line of the table; empty where it was not measured."""
    if not told:
        return []
    predicted, measured = told["predicted"], told["measured"]
    return [name, spell(predicted), spell(measured), error_of(predicted, measured)]


def _memory(planned: Mapping[str, Any], resident: Mapping[str, Any]) -> Html:
    return memory_bars(_parts(planned), resident.get("measured"), planned["room"])


def _parts(planned: Mapping[str, Any]) -> dict[str, int]:
    return {**planned["parts"], "allocator": planned["allocator"], **planned["overheads"]}


def _keys(planned: Mapping[str, Any]) -> Html:
    """Which colour stands for which part of the planned peak."""
    sizes = [(name, size) for name, size in _parts(planned).items() if size > 0]
    keys = (
        join([tag("i", class_=f"key-part part{place % PART_COLOURS}"), f"{name} {memory_size(size)}"], "")
        for place, (name, size) in enumerate(sizes)
    )
    return tag("span", join(tag("span", key) for key in keys), class_="legend")


def _figures(planned: Mapping[str, Any]) -> Html:
    """The parts of the planned peak in figures, and the micro-batch that they belong to."""
    again = ", activations computed again in the backward pass" if planned["checkpointing"] else ""
    pairs: list[tuple[str, object]] = [
        *((name, memory_size(size)) for name, size in _parts(planned).items() if size),
        ("may be used", f"{memory_size(planned['room'])}: {planned['room_reason']}"),
        ("micro-batch", f"{planned['micro_rows']:,} × {planned['context']:,} tokens{again}"),
    ]
    return unfold("The planned peak in figures", facts(pairs))
