"""What a person should look at while a run works, in words."""

from __future__ import annotations

from burnish.runs.events import DataChecked, Diagnosed, MicroBatchHalved, Spiked, Warned

_ROWS_TOLD = 5
_KINDS_TOLD = 3


def caution(event: Warned | DataChecked | MicroBatchHalved | Diagnosed | Spiked) -> str:
    """What happened, with figures, and where there is something to do, what."""
    match event:
        case MicroBatchHalved():
            return _halved(event)
        case DataChecked():
            return _defects(event)
        case Diagnosed():
            advice = f" {event.advice}." if event.advice else ""
            return f"{event.name.replace('-', ' ')}: {event.evidence}.{advice}"
        case Spiked():
            return _spiked(event)
        case _:
            return event.text


def _defects(event: DataChecked) -> str:
    """What a brief look at the rows found."""
    told = [f"{one['count']:,} × {one['what']} (first {one['places'][0]})" for one in event.findings[:_KINDS_TOLD]]
    more = len(event.findings) - _KINDS_TOLD
    others = f"; and {more} kinds more" if more > 0 else ""
    return f"The rows have defects: {'; '.join(told)}{others}. `burnish check` on the data tells more."


def _halved(event: MicroBatchHalved) -> str:
    """What ran out of memory, and how it goes on."""
    where = f"judging the held-out rows after step {event.step}" if event.held_out else f"step {event.step}"
    whole = "The held-out rows take" if event.held_out else "The step keeps its rows and its arithmetic, and takes"
    return (
        f"Memory ran out in {where}, so a micro-batch now holds at most {event.tokens_after:,} tokens instead of "
        f"{event.tokens_before:,}. {whole} {event.batches_after:,} micro-batches instead of {event.batches_before:,}."
    )


def _spiked(event: Spiked) -> str:
    """The step, how far it stands out, and its first rows."""
    named = ", ".join(event.rows[:_ROWS_TOLD])
    more = f" and {len(event.rows) - _ROWS_TOLD} more" if len(event.rows) > _ROWS_TOLD else ""
    return (
        f"at step {event.step} the {event.what} was {event.value:.3g}, where {event.usual:.3g} is usual. The rows of "
        f"that step: {named}{more}."
    )
