"""Tables that figures come in."""

from __future__ import annotations

import dataclasses

from burnish.metrics.measure import MetricTable


def test_a_table_is_a_value() -> None:
    table = MetricTable("per class", ("label", "F1"), (("yes", 0.5),))
    assert table == MetricTable("per class", ("label", "F1"), (("yes", 0.5),))
    assert dataclasses.asdict(table) == {"title": "per class", "columns": ("label", "F1"), "rows": (("yes", 0.5),)}
