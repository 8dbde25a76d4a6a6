"""Training and validation rows, kept apart by what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from burnish.data.records import Record, SpanRecord, content_hash
from burnish.errors import DataError


def split_held_out(
    records: Sequence[Record], fraction: float, most: int, seed: int
) -> tuple[list[Record], list[Record]]:
    """Hold out about `fraction` of the distinct records, at most `most` rows. Returns (train, valid), each in order.

    All duplicates of a record fall on the same side, and which side does not depend on the order of the file. Of two
    or more distinct records at least one falls on each side; a single one is not held out. Questions about the same
    text fall on the same side, where there are several texts: who knows a text finds the next answer in it more easily.
    """
    hashes = split_keys(records)
    sizes: dict[str, int] = {}
    for key in hashes:
        sizes[key] = sizes.get(key, 0) + 1
    wanted = max(1, min(round(fraction * len(sizes)), most, len(sizes) - 1)) if len(sizes) > 1 else 0
    held: set[str] = set()
    rows = 0
    for key in sorted(sizes, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest()):
        if len(held) == wanted:
            break
        # A record with very many duplicates is passed over, unless there is no other.
        if rows + sizes[key] <= most:
            held.add(key)
            rows += sizes[key]
    if wanted and not held:
        held.add(min(sizes, key=lambda key: (sizes[key], key)))
    train = [record for record, key in zip(records, hashes, strict=True) if key not in held]
    valid = [record for record, key in zip(records, hashes, strict=True) if key in held]
    return train, valid


def split_keys(records: Sequence[Record]) -> list[str]:
    """For each record, a key that it shares with those that must stay on its side: its duplicates, and for questions
    about a text the other questions about it, unless all are about one text."""
    texts = [record.context if isinstance(record, SpanRecord) else None for record in records]
    if None in texts or len(set(texts)) < 2:
        return [content_hash(record) for record in records]
    return [hashlib.sha256(str(text).encode("utf-8")).hexdigest() for text in texts]


def assert_disjoint(train: Sequence[Record], valid: Sequence[Record]) -> None:
    """Make sure that nothing trained on is also validated on.

    Raises:
        DataError: a record is in both; the first is named.
    """
    places = {content_hash(record): record.place for record in train}
    for record in valid:
        place = places.get(content_hash(record))
        if place is not None:
            raise DataError(
                f"{record.place} is in the validation data and, at {place}, in the training data",
                "A figure on rows that were trained on proves nothing",
                "Remove it from one of the two",
            )
