"""How often the 95 % interval of a mean over rows holds the truth, with and without its widening.

    python bench/interval_coverage.py [--trials 2000] [--write]

Rows are made up: their figures are normal, or exponential, which is very lopsided. `plain` is the percentile interval
of the same bootstrap as it falls out. `--write` puts the table into docs/evaluation.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy
from page import DOCS, write_between

from burnish.metrics.intervals import estimate, resampled
from burnish.metrics.measure import ratio

LAWS: dict[str, Callable[[numpy.random.Generator, int], numpy.ndarray]] = {
    "normal": lambda source, rows: source.normal(1.0, 0.5, rows),
    "exponential": lambda source, rows: source.exponential(1.0, rows),
}
TRUTH = 1.0
"""The mean of either law."""
ROWS = (4, 10, 20, 30, 100)


def shares_held(law: str, rows: int, trials: int) -> tuple[float, float]:
    """The share of intervals that hold the truth: the plain one, and Burnish's."""
    source = numpy.random.default_rng(rows)
    plain = widened = 0
    for seed in range(trials):
        measure = ratio("loss", LAWS[law](source, rows), numpy.ones(rows), higher_is_better=False, is_share=False)
        low, high = numpy.quantile(measure.formula(resampled(measure.table, seed)), (0.025, 0.975))
        interval = estimate(measure, seed)
        plain += bool(low <= TRUTH <= high)
        widened += interval.low <= TRUTH <= interval.high
    return plain / trials, widened / trials


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="into docs/evaluation.md")
    options = parser.parse_args()
    lines = [
        "| rows | " + " | ".join(f"{law}, plain | {law}" for law in LAWS) + " |",
        f"|---:|{'---:|' * 2 * len(LAWS)}",
    ]
    for rows in ROWS:
        held = [share for law in LAWS for share in shares_held(law, rows, options.trials)]
        lines.append(f"| {rows} | {' | '.join(f'{share:.1%}' for share in held)} |")
        print(lines[-1], flush=True)
    text = "\n".join([*lines, "", f"{options.trials:,} made-up data sets each."])
    print(text)
    if options.write:
        write_between(DOCS / "evaluation.md", "coverage", text)


if __name__ == "__main__":
    main()
