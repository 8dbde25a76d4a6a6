"""The labels of all rows together: whether there is something to learn in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from burnish.data.label_rows import in_order
from burnish.data.records import LabelledRecord
from burnish.errors import DataError

_NO_LABELS = "If the column holds no labels, read the rows as plain text: `--set data.shape=text`"


def has_label_lists(records: Sequence[LabelledRecord]) -> bool:
    """Whether the rows have lists of labels, and not one label each.

    Raises:
        DataError: some have the one and some the other.
    """
    first = records[0]
    other = next((record for record in records if record.is_multi != first.is_multi), None)
    if other is None:
        return first.is_multi
    listed, single = (first, other) if first.is_multi else (other, first)
    raise DataError(
        f"{listed.place} has a list of labels, but {single.place} has a single label",
        "Whether a row can have several labels must be the same for all",
        "Write every label as a list, or set `classify.multi_label=true`, which reads a single one as a list of one",
    )


def find_labels(records: Sequence[LabelledRecord], is_multi: bool) -> list[str]:
    """The labels of the rows, in numeric or alphabetic order.

    Raises:
        DataError: nothing can be learned from them, because they are all the same; or they look like free text.
    """
    counts = Counter(label for record in records for label in record.labels)
    mentions = counts.total()
    if len({record.labels for record in records}) < 2:
        named = ", ".join(f"`{label}`" for label in records[0].labels) or "no label"
        raise DataError(
            f"every training row has the same label: {named}" if mentions else "no training row has a label",
            "There is nothing to tell apart, so there is nothing to learn",
            f"Add rows with other labels. {_NO_LABELS}",
        )
    if len(counts) > 2 and 2 * len(counts) > mentions:
        examples = ", ".join(f"`{_short(label)}`" for label in list(counts)[:3])
        raise DataError(
            f"the labels look like free text: {len(counts):,} different ones in {len(records):,} training rows",
            f"The first are {examples}. A label is learned from rows that share it",
            f"Name the column with the labels: `--set data.columns.label=COLUMN`. {_NO_LABELS}",
        )
    return in_order(set(counts))


def describe_labels(records: Sequence[LabelledRecord], labels: Sequence[str]) -> str:
    """How many labels there are and how uneven they are, in words."""
    counts = Counter(label for record in records for label in record.labels)
    most = max(labels, key=lambda label: counts[label])
    least = min(labels, key=lambda label: counts[label])
    shares = (100 * counts[label] / len(records) for label in (most, least))
    told = " and ".join(f"`{label}` in {share:.1f} %" for label, share in zip((most, least), shares, strict=True))
    return f"those of {len(records):,} training rows; most and least often {told} of them"


def _short(label: str) -> str:
    return label if len(label) <= 40 else f"{label[:39]}…"
