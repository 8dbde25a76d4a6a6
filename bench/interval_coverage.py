"""How often the 95 % interval of a metric, and of its change on the same rows, holds the truth.

    python bench/interval_coverage.py [--trials 2000] [--write]

Rows are made up: shares of rows that are right, with a true share between 10 and 90 % that differs from trial to trial,
because the coverage of a count jumps from one true share to the next; losses per token, with rows of 5 to 39 tokens;
losses that are exponential, which is very lopsided; and F1 of one or more entities a row. The second model does better
than the first, and equally well on many rows. Three kinds of rows: all distinct; a third of them copies of others; and
whole clusters, of three copies on average. The last block takes the copies for rows of their own. `--write` puts the
table into docs/evaluation.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy
from page import DOCS, write_between

from burnish.metrics.intervals import difference, estimate
from burnish.metrics.measure import Measure, f1, grouped, mean, ratio, value

ROWS = (10, 15, 20, 30, 60)
Source = numpy.random.Generator


@dataclass(frozen=True, slots=True)
class Drawn:
    """Two models on the same distinct rows, and the true values where they are known."""

    base: Measure
    tuned: Measure
    truths: tuple[float, float] | None = None
    """Of the tuned model's metric, and of the change."""


def share(source: Source, rows: int) -> Drawn:
    """Rows that are right or wrong; on three fifths of them one number decides for both models."""
    low = source.uniform(0.1, 0.8)
    first = source.random(rows)
    second = numpy.where(source.random(rows) < 0.6, first, source.random(rows))
    return Drawn(mean("share", first < low), mean("share", second < low + 0.1), (low + 0.1, 0.1))


def loss(source: Source, rows: int) -> Drawn:
    """Losses per token: each row has its own level and number of tokens."""
    tokens, level = source.integers(5, 40, rows), source.gamma(4, 0.5, rows)
    tuned = level * source.normal(0.7, 0.1, rows) + source.normal(0, 0.1, rows)
    sides = (ratio("loss", tokens * one, tokens, False, False) for one in (level, tuned))
    return Drawn(*sides, truths=(1.4, -0.6))


def lopsided(source: Source, rows: int) -> Drawn:
    """Exponential losses of one term a row."""
    level = source.exponential(1, rows)
    sides = (mean("loss", one, False, False) for one in (level, level * source.random(rows)))
    return Drawn(*sides, truths=(0.5, -0.5))


def entities(source: Source, rows: int) -> Drawn:
    """F1: on three fifths of the rows both models find the same."""
    gold, ease = 1 + source.poisson(1, rows), source.beta(2, 2, rows)
    same = source.random(rows) < 0.6
    hits, wrong = source.binomial(gold, ease), source.poisson(0.4, rows)
    more = numpy.where(same, hits, source.binomial(gold, numpy.clip(ease + 0.2, 0, 1)))
    less = numpy.where(same, wrong, source.poisson(0.3, rows))

    def side(right: numpy.ndarray, false: numpy.ndarray) -> Measure:
        table = numpy.stack([right, right + false, gold], axis=1).astype(float)
        return Measure("F1", table, lambda sums: f1(sums[..., 0], sums[..., 1], sums[..., 2]), True, True)

    return Drawn(side(hits, wrong), side(more, less))


LAWS: dict[str, Callable[[Source, int], Drawn]] = {
    "share": share,
    "loss": loss,
    "lopsided loss": lopsided,
    "F1": entities,
}


def groups_of(kind: str, source: Source, rows: int) -> numpy.ndarray:
    """`[rows]`: the number of each row's content."""
    distinct = {"distinct": rows, "a third are copies": rows - rows // 3, "clusters": max(2, rows // 3)}[kind]
    return numpy.concatenate([numpy.arange(distinct), source.integers(0, distinct, rows - distinct)])


KINDS = ("distinct", "a third are copies", "clusters")


def held(law: str, kind: str, rows: int, trials: int, is_naive: bool = False) -> tuple[float, float]:
    """The share of intervals that hold the truth: those of the tuned model's metric, and of the change.

    Args:
        law: one of `LAWS`.
        kind: one of `KINDS`.
        rows: copies included.
        trials: number of made-up data sets.
        is_naive: whether copies are taken for rows of their own.
    """
    many = LAWS[law](numpy.random.default_rng(0), 1_000_000)
    known = many.truths or (value(many.tuned), value(many.tuned) - value(many.base))
    source = numpy.random.default_rng(rows)
    single = change = 0
    for _ in range(trials):
        groups = groups_of(kind, source, rows)
        drawn = LAWS[law](source, int(groups.max()) + 1)
        truths = drawn.truths or known
        base, tuned = (_repeated(one, groups, is_naive) for one in (drawn.base, drawn.tuned))
        first, second = estimate(tuned), difference(base, tuned)
        single += first.low <= truths[0] <= first.high
        change += second.low <= truths[1] <= second.high
    return single / trials, change / trials


def _repeated(measure: Measure, groups: numpy.ndarray, is_naive: bool) -> Measure:
    """The metric on rows of which some say the same."""
    all_rows = Measure(measure.name, measure.table[groups], measure.formula, measure.higher_is_better, measure.is_share)
    is_distinct = len(groups) == len(measure.table)
    return all_rows if is_naive or is_distinct else grouped(all_rows, groups)


def block(kind: str, trials: int, is_naive: bool = False) -> list[str]:
    """The lines of a kind of rows."""
    lines = []
    for rows in ROWS:
        cells = [f"{one:.1%}" for law in LAWS for one in held(law, kind, rows, trials, is_naive)]
        name = f"{kind}, taken as rows" if is_naive else kind
        lines.append(f"| {name} | {rows} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="into docs/evaluation.md")
    options = parser.parse_args()
    lines = [
        "| rows | number | " + " | ".join(f"{law} | change" for law in LAWS) + " |",
        f"|---|---:|{'---:|' * 2 * len(LAWS)}",
    ]
    for kind in KINDS:
        lines += block(kind, options.trials)
    lines += block(KINDS[1], options.trials, is_naive=True)
    text = "\n".join([*lines, "", f"{options.trials:,} made-up data sets each."])
    if options.write:
        write_between(DOCS / "evaluation.md", "coverage", text)


if __name__ == "__main__":
    main()
