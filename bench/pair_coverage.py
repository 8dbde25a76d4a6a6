"""How often the interval of a difference in `burnish compare` and `burnish sweep` covers the true one, on few rows.

    python bench/pair_coverage.py [--draws 2000] [--write]

Two models answer rows that are drawn at random; the true difference of their metric is known from very many rows. No
noise of training is simulated: it only widens these intervals. `--write` puts the table into docs/comparing.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy
from page import DOCS, write_between

from burnish.evaluate.noise import compare_recipes
from burnish.metrics.measure import Measure, f1, mean, ratio

ROWS = (10, 15, 20, 30, 60)
_MANY = 400_000
Draw = Callable[[numpy.random.Generator, int], list[Measure]]


def accuracy(first: float, second: float, shared: float) -> Draw:
    """Right or wrong; `shared` is the share of rows on which both models are alike."""

    def draw(source: numpy.random.Generator, rows: int) -> list[Measure]:
        luck = source.random(rows)
        other = numpy.where(source.random(rows) < shared, luck, source.random(rows))
        return [mean("accuracy", luck < first), mean("accuracy", other < second)]

    return draw


def loss(spread: float, lengths: float) -> Draw:
    """Loss per token of rows of unequal length (log-normal), which the second model lowers by a tenth."""

    def draw(source: numpy.random.Generator, rows: int) -> list[Measure]:
        tokens = numpy.ceil(numpy.exp(source.normal(3, lengths, rows)))
        hard = numpy.exp(source.normal(0, spread, rows))
        gain = source.normal(0.1, 0.2, rows)
        kind = {"higher_is_better": False, "is_share": False}
        return [ratio("loss", tokens * hard * part, tokens, **kind) for part in (1.0, 1 - gain)]

    return draw


def entity_f1(right: float, better: float) -> Draw:
    """F1 over entities, of which a row has some or none."""

    def draw(source: numpy.random.Generator, rows: int) -> list[Measure]:
        gold = source.poisson(2.0, rows)
        found = []
        for share in (right, better):
            hits = source.binomial(gold, share)
            table = numpy.stack([hits, hits + source.poisson(0.5, rows), gold], axis=1).astype(numpy.float64)
            found.append(Measure("F1", table, lambda sums: f1(sums[..., 0], sums[..., 1], sums[..., 2]), True, True))
        return found

    return draw


KINDS: dict[str, Draw] = {
    "accuracy 70 and 85 %, alike on 60 % of rows": accuracy(0.70, 0.85, 0.6),
    "accuracy 90 and 95 %, alike on 80 % of rows": accuracy(0.90, 0.95, 0.8),
    "accuracy 50 and 50 %, independent": accuracy(0.5, 0.5, 0.0),
    "loss, rows of equal length": loss(0.5, 0.01),
    "loss, rows of unequal length": loss(0.5, 0.6),
    "loss, rows of very unequal length": loss(0.8, 1.0),
    "entity F1 60 and 75 %": entity_f1(0.6, 0.75),
}


def coverage(draw: Draw, rows: int, draws: int, seed: int) -> float:
    """The share of intervals that cover the true difference."""
    source = numpy.random.default_rng(seed)
    first, second = draw(numpy.random.default_rng(99), _MANY)
    truth = float(second.formula(second.table.sum(0)) - first.formula(first.table.sum(0)))
    covered = 0
    for _ in range(draws):
        pair = compare_recipes(draw(source, rows), [[0], [1]], [None, None]).pairs[0].change
        covered += pair.low <= truth <= pair.high
    return covered / draws


def main() -> None:
    """Simulates and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = [
        f"| figures of two models | {' | '.join(f'{rows} rows' for rows in ROWS)} |",
        "|---|" + "---:|" * len(ROWS),
    ]
    for name, draw in KINDS.items():
        found = [coverage(draw, rows, options.draws, seed) for seed, rows in enumerate(ROWS)]
        lines.append(f"| {name} | {' | '.join(f'{100 * share:.1f} %' for share in found)} |")
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(f"\n{text}")
    if options.write:
        write_between(DOCS / "comparing.md", "pairs", text)


if __name__ == "__main__":
    main()
