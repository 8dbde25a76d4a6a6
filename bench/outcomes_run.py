"""One training of `bench/outcomes.py`, evaluated on test rows.

    python bench/outcomes_run.py SETTINGS.json RESULT.json

A process of its own, so that no run inherits memory or random state of another. The engine is Burnish's; a listener
evaluates on the test rows, which nothing in the run sees: the base model and the weights that are the result, or, for
the rules, the weights of every validation.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.engine.loop import Loop
from burnish.engine.random_state import seed_everything
from burnish.engine.validation import HeldOut, evaluate_rows, paired_change
from burnish.evaluate.answers import answer_measures, answer_questions
from burnish.metrics.measure import Measure, value
from burnish.plan.run_plan import plan_run
from burnish.prepare.context import RunContext, encode, other_rows, prepare
from burnish.prepare.model import (
    apply_method,
    as_base,
    inspect_base,
    load_network,
    make_loop,
    measure_examples,
    measure_on_base,
)
from burnish.prepare.resolve import Resolver, resolve_by_steps, total_steps
from burnish.recipe.load import load_recipe
from burnish.runs.events import StepDone, Validated
from burnish.runs.folder import RunFolder

DECAYS = (0.8,)
"""Of the moving averages of the weights, per hundredth of the run."""
LAST = (3,)
"""How many of the last validations' weights are averaged."""
Weights = dict[str, torch.Tensor]


class Recorder:
    """Receives the events of a run, and evaluates its weights.

    Args:
        context: of the run.
        test: the same with the test rows instead of the validation rows.
        loop: of the run.
        answers: number of test questions to answer at every evaluation.
        rhythm: `every` validation, with averages of the weights; or the base model and the `kept` or `last` weights.
    """

    def __init__(self, context: RunContext, test: RunContext, loop: Loop, answers: int, rhythm: str) -> None:
        self.context, self.test, self.loop, self.rhythm = context, test, loop, rhythm
        self.validations: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.measures: list[list[Measure]] = []
        """Of the validation rows, at every evaluation."""
        self._kept: list[Weights] = []
        self._moving: dict[float, Weights] = {}
        self._questions = test.questions(answers) if answers else []

    def __call__(self, event: Any) -> None:
        if isinstance(event, StepDone):
            self.losses.append(event.loss)
            if self.rhythm == "every":
                self._move(event.total_steps)
        elif isinstance(event, Validated):
            if event.step and (self.rhythm != "kept" or event.is_best):
                number = max(LAST) if self.rhythm == "every" else 1
                self._kept = [*self._kept, self._weights()][-number:]
            if self.rhythm == "every" or not event.step:
                self.validations.append({"step": event.step, **self.evaluate()})

    def finish(self) -> None:
        """Evaluates the result, unless every validation was evaluated."""
        if self.rhythm != "every":
            progress = self.loop.progress
            if progress.best_step:
                self._set(self._kept[-1])
            step = progress.best_step if self.rhythm == "kept" else progress.step
            self.validations.append({"step": step, **self.evaluate()})

    def evaluate(self) -> dict[str, Any]:
        """What the network is worth now: on the validation rows, by row, and on the test rows."""
        network, recipe = self.loop.trainer.network, self.context.recipe
        found: dict[str, Any] = {"trained": sum(self.losses[-8:]) / max(1, len(self.losses[-8:]))}
        for name, context in (("valid", self.context), ("test", self.test)):
            rows = HeldOut.of(context.batch_plan(context.validation), context.validation.owners)
            outcome = evaluate_rows(network, context.task, rows, recipe.model.precision)
            measures = [outcome.loss(), *_headline(context, outcome)]
            found[name] = {one.name: value(one) for one in measures}
            if name == "valid":
                self.measures.append(measures)
        if self._questions:
            answers = answer_questions(
                network, self.context.tokenizer, self.context.task.predictor, self._questions,
                int(recipe.evaluate.max_new_tokens), recipe.model.precision,
            )  # fmt: skip
            measures = answer_measures(answers, None, self.context.task.scorer.compares_answers)
            found["answers"] = {one.name: value(one) for one in measures}
        return found

    def changes(self) -> dict[str, list[list[float]]]:
        """For each metric: numbers of an earlier and a later validation, their paired difference and its interval."""
        validations = self.measures[: len(self.validations)]
        found: dict[str, list[list[float]]] = {}
        for (first, before), (second, after) in itertools.combinations(enumerate(validations), 2):
            for one, later in zip(before, after, strict=True):
                change = paired_change(one, later)
                if change is not None:
                    found.setdefault(one.name, []).append([first, second, change.value, change.low, change.high])
        return found

    def averages(self) -> dict[str, Any]:
        """The same for averages of the weights."""
        if self.rhythm != "every":
            return {}
        last = self._weights()
        found = {}
        for number in LAST:
            chosen = self._kept[-number:]
            found[f"last {number}"] = {name: torch.stack([one[name] for one in chosen]).mean(0) for name in last}
        found |= {f"moving {decay}": weights for decay, weights in self._moving.items()}
        results = {}
        for name, weights in found.items():
            self._set(weights)
            results[name] = self.evaluate()
        self._set(last)
        return results

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        network = self.loop.trainer.network
        return ((name, one) for name, one in network.named_parameters() if one.requires_grad)

    def _weights(self) -> Weights:
        return {name: one.detach().clone() for name, one in self._trained()}

    def _set(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, one in self._trained():
                one.copy_(weights[name])

    def _move(self, total_steps: int) -> None:
        for decay in DECAYS:
            kept = decay ** (100 / total_steps)
            moving = self._moving.setdefault(decay, self._weights())
            for name, one in self._trained():
                moving[name].lerp_(one.detach(), 1 - kept)


def _headline(context: RunContext, outcome: Any) -> list[Measure]:
    scorer = context.task.scorer
    return [one for one in scorer.measures(outcome) if one.name == scorer.headline and one.name != "loss"]


def run_cell(settings: dict[str, Any]) -> dict[str, Any]:
    """Trains once and returns what was seen on the way.

    Args:
        settings: `train` and `test` (files), `options` (of the recipe), `rate`, `step` and `epochs` (factors of the
            default learning rate, step size and length), `step_rows` (rows of a step instead; None for the factor),
            `validations` (their number; None for the default rhythm), `answers` (number of test questions to answer at
            every evaluation) and `rhythm` (of evaluations, as in `Recorder`).
    """
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        recorder = _prepared(settings, Path(name))
        loop, ready = recorder.loop, time.perf_counter()
        seed_everything(recorder.context.recipe.seed)
        loop.run()
        recorder.finish()
        recipe = recorder.context.recipe
        train = recipe.train
        return {
            "options": {
                "task": recipe.task, "method": recipe.method, "learning_rate": train.learning_rate,
                "epochs": train.epochs, "steps": loop.total_steps, "tokens": recipe.batch.tokens,
                "rank": recipe.lora.rank, "warmup": train.warmup, "schedule": train.schedule,
                "train_rows": recorder.context.num_training_rows, "valid_rows": recorder.context.num_validation_rows,
                "test_rows": recorder.test.num_validation_rows, "headline": recorder.context.task.scorer.headline,
            },
            "best_step": loop.progress.best_step,
            "planned_steps": loop.planned_steps,
            "validations": recorder.validations,
            "changes": recorder.changes(),
            "averages": recorder.averages(),
            "seconds": {
                "ready": ready - begun, "trained": loop.progress.seconds, "all": time.perf_counter() - begun,
            },
        }  # fmt: skip


def _prepared(settings: dict[str, Any], folder: Path) -> Recorder:
    options = {
        "save.keep": 1, "evaluate.general": "none",
        "data.test": "none", "model.device": "cpu",
        **settings["options"],
    }  # fmt: skip
    recipe = load_recipe(settings["train"], options, ()).recipe
    listening: list[Recorder] = []

    def emit(event: Any) -> None:
        for one in listening:
            one(event)

    context = prepare(recipe, emit)
    context = plan_run(context, simulates=False).context
    rate = float(f"{float(context.recipe.train.learning_rate) * settings['rate']:.3g}")
    tokens = max(1, round(int(context.recipe.batch.tokens) * settings["step"]))
    if settings["step_rows"]:
        rows = context.training
        tokens = max(1, round(settings["step_rows"] * rows.num_tokens / len(rows.examples)))
    epochs = float(context.recipe.train.epochs) * settings["epochs"]
    context = context.with_options(train={"learning_rate": rate, "epochs": epochs}, batch={"tokens": tokens})
    base = load_network(context)
    context = measure_on_base(inspect_base(context, base), base.network)
    batches = context.batch_plan(context.training)
    resolver = Resolver(context.recipe, emit)
    steps = total_steps(context.recipe, batches.steps_per_epoch)
    if settings["validations"]:
        resolver.fill("evaluate.every", -(-steps // settings["validations"]), "as asked")
    resolve_by_steps(resolver, batches.steps_per_epoch, context.training.num_tokens)
    context = context.with_recipe(resolver.recipe)
    network = apply_method(context, base)
    test = _on_test_rows(context, settings["test"], network)
    loop = make_loop(context, network, batches, RunFolder(folder))
    (folder / "checkpoints").mkdir(exist_ok=True)
    recorder = Recorder(context, test, loop, settings["answers"], settings["rhythm"])
    listening.append(recorder)
    return recorder


def _on_test_rows(context: RunContext, file: str, network: Any) -> RunContext:
    records = other_rows(context.recipe, file, context.emit)
    encoded = encode(replace(context, records=replace(records, train=[])))
    records = replace(encoded.records, valid=encoded.records.test)
    test = replace(context, records=records, validation=encoded.test)
    with as_base(network, test) as reference:
        return replace(test, validation=measure_examples(test, test.validation, reference))


if __name__ == "__main__":
    asked, result = (Path(name) for name in sys.argv[1:])
    torch.set_num_threads(int(json.loads(asked.read_text(encoding="utf-8")).get("threads", 1)))
    found = run_cell(json.loads(asked.read_text(encoding="utf-8")))
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(result)
