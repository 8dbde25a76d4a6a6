"""`burnish sweep`: runs that differ in a few options, ranked on the validation rows; the test rows see the best alone.

    options ─► plan all ─► train each, on a shared preparation ─► rank ─► evaluate the best

The runs are as `burnish train` makes them, bit for bit. `sweep.json` notes after every run what was trained, so that
the same command continues a sweep that was stopped.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from burnish.data.batching.batches import BatchPlan
from burnish.engine.loop import Loop
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.errors import BurnishError, Interrupted, RecipeError
from burnish.evaluate.ranking import Ranking, check_rankable, check_rows, find_figure, rank_settings
from burnish.evaluate.run_comparison import RunScore, score_of, training_noises
from burnish.evaluate.suggestions import Suggestions
from burnish.lineage.manifest import check_base
from burnish.lineage.saved_recipe import open_recipe
from burnish.lineage.trust import record_trust
from burnish.models.device import free_memory
from burnish.plan.run_plan import RunPlan
from burnish.plan.time import find_usable, step_key, training_seconds
from burnish.prepare.context import RunContext, prepare
from burnish.prepare.idle import no_effect, without_effect
from burnish.prepare.model import load_from, measure_on_base, needs_base, open_result
from burnish.prepare.resolve import Resolver, resolve_by_steps, total_steps
from burnish.prepare.result import keep_best
from burnish.prepare.shared import Shared
from burnish.prepare.sweep_checks import AskedSweep, check_sweep
from burnish.recipe.grid import MakeRecipe, Setting, setting_name
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.origins import FLAG
from burnish.recipe.schema import AUTO
from burnish.report.figures import duration
from burnish.report.page import write_pages
from burnish.runs.damage import check_plain
from burnish.runs.event_log import EventLog, read_events
from burnish.runs.events import Finished, Listener, Note, Ranked, Stage, TimeMeasured, Warned
from burnish.runs.folder import NewRun, RunFolder, result_of
from burnish.runs.lock import write_lock
from burnish.runs.sweep_folder import SweepFolder, SweepRun, SweepState, find_sweep
from burnish.system.machine import trim_heap
from burnish.trackers import tracked
from burnish.workflows.evaluate import evaluate
from burnish.workflows.resume import continue_training
from burnish.workflows.run import Sweep
from burnish.workflows.train import begin_folder, fit, load, plan_training


def sweep(
    make: MakeRecipe,
    over: Sequence[str] | Mapping[str, Any],
    seeds: int = 1,
    trials: int | None = None,
    listeners: Iterable[Listener] = (),
    begun: float | None = None,
) -> Sweep:
    """Trains a run for every setting, ranks them on the validation rows, and evaluates the best on the test rows.

    Args:
        make: makes the recipe of a setting from values by dotted name.
        over: the options that differ: words like `train.learning_rate=1e-4,3e-4`, or lists of values by name.
        seeds: how many seeds every setting is trained with; settings are then ranked by the mean.
        trials: how many settings Optuna chooses from the values and ranges; None for all combinations.
        listeners: receive every event.
        begun: when the command was given, in seconds since 1970; None for now.

    Raises:
        RecipeError: an option is unknown, has a wrong value, has no effect, or leaves nothing to compare.
        InputError: data or model is wrong, or the name is taken by another sweep.
        MachineError: `trials` needs a package that is not installed, the device is missing, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; the same call goes on from there.
    """
    begun = begun or time.time()
    asked = check_sweep(make, over, seeds, trials)
    recipe = asked.base.recipe
    stem = f"sweep-{Path(recipe.data.sources[0].path).name.split('.')[0] or 'data'}"
    name = None if recipe.name == AUTO else recipe.name
    folder, is_begun = find_sweep(Path(recipe.runs), name, stem, asked.to_dict())
    with contextlib.ExitStack() as held:
        if is_begun:
            check_plain(folder.path)
            held.enter_context(write_lock(folder.path, "swept"))
        else:
            held.enter_context(NewRun(folder.path.parent)).take(folder.name)
        state = folder.read() or SweepState(asked.to_dict())
        if not state.is_finished:
            _Sweeping(asked, folder, state, tuple(listeners), begun).run()
    return Sweep(folder.path)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A run before its training."""

    run: SweepRun
    plan: RunPlan
    log: EventLog
    seconds: float
    """That the plan took."""


@dataclass(slots=True)
class _Sweeping:
    """A sweep at work."""

    asked: AskedSweep
    folder: SweepFolder
    state: SweepState
    listeners: tuple[Listener, ...]
    begun: float
    shared: Shared = field(default_factory=Shared)
    scores: dict[str, RunScore] = field(default_factory=dict)
    """Of the runs trained so far, by name."""
    preparations: list[float] = field(default_factory=list)
    """Seconds before the training of each run of this process."""
    first: RunPlan | None = None
    """The first plan of this process, with which the others have to agree."""

    def run(self) -> None:
        """Trains what is missing, ranks, and evaluates the winner."""
        if self.asked.trials:
            self._train_trials(self.asked.trials)
        else:
            self._train_grid()
        self.shared.free_base()
        self._conclude(self._rank())

    @property
    def emit(self) -> EventLog:
        """For what belongs to no single run."""
        return EventLog(None, self.listeners)

    def _train_grid(self) -> None:
        """All combinations: all are planned before the first is trained."""
        if not self.state.runs:
            self.state.runs = [run for setting in self.asked.settings for run in self._runs_of(setting)]
        missing = [run for run in self.state.runs if not run.is_done and not run.failure]
        planned = [self._plan(run) for run in missing]
        self._refuse_same(planned)
        self.folder.write(self.state)
        if planned:
            self._announce(len(self.state.runs), planned)
        for number, one in enumerate(planned):
            self._train(one, len(self.state.runs))
            if number == 0 and len(planned) > 1:
                self._estimate(planned)

    def _train_trials(self, trials: int) -> None:
        """Settings chosen one after the other, each by the results of those before.

        Those of an earlier process are chosen again, since the choice follows from seed and results, and are not
        trained again.
        """
        suggestions = Suggestions(self.asked.axes, self.asked.base.recipe.seed)
        for setting in self.asked.samples:
            self._plan(replace(self._runs_of(setting)[0]))
        self.emit(Note(f"{trials} trials with {len(self.asked.seeds)} runs each, chosen by Optuna (TPE)."))
        for _ in range(trials):
            setting = suggestions.ask()
            runs = [run for run in self.state.runs if run.setting == setting]
            if not runs:
                runs = self._runs_of(setting)
                self.state.runs += runs
                self.folder.write(self.state)
            for run in runs:
                if not run.is_done and not run.failure:
                    self._train(self._plan(run), trials * len(self.asked.seeds))
            scores = [run.score for run in runs if run.is_done]
            suggestions.learn(sum(scores) / len(scores) if len(scores) == len(runs) else None)

    def _runs_of(self, setting: Setting) -> list[SweepRun]:
        """A run for each seed, with names that no other has."""
        taken = {run.name for run in self.state.runs}
        runs = []
        for seed in self.asked.seeds:
            name = setting_name(setting) + (f"-seed-{seed}" if len(self.asked.seeds) > 1 else "")
            number = 1
            while (fresh := name if number == 1 else f"{name}-{number}") in taken:
                number += 1
            runs.append(SweepRun(fresh, setting, seed))
            taken.add(fresh)
        return runs

    def _plan(self, run: SweepRun) -> _Planned:
        """Prepares a run up to its plan, and checks that it can be ranked with the others."""
        started = self.begun if self.first is None else time.time()
        loaded = self.asked.make(run.setting)
        own = {"seed": run.seed, "name": run.name, "runs": str(self.folder.path)}
        log = EventLog(None, self.listeners)
        budget = None if self.first is None else self.first.budget
        plan = plan_training(loaded.recipe.model_copy(update=own), loaded.origins, log, self.shared, budget)
        for option, reason in without_effect(dict.fromkeys(run.setting, FLAG), plan.context).items():
            raise RecipeError(no_effect(option, reason).rstrip("."), "The runs would be the same.", "Leave it out")
        if self.first is None:
            check_rows(plan.context)
            self.first, self.shared.room = plan, _spare(plan)
        check_rankable(self.first.context, plan.context, run.setting)
        self.shared.room = min(self.shared.room, _spare(plan))
        return _Planned(run, plan, log, time.time() - started)

    def _refuse_same(self, planned: Sequence[_Planned]) -> None:
        """Refuses settings that become the same recipe, such as a rank of `auto` beside the rank that it means."""
        seen: dict[str, str] = {}
        for one in planned:
            text = one.plan.context.recipe.model_dump_json(exclude={"name", "runs"})
            if text in seen:
                raise RecipeError(
                    f"`{seen[text]}` and `{one.run.name}` are the same run",
                    "With this model and these rows, `auto` means a value that is tried as well.",
                    "Leave one of the two values out",
                )
            seen[text] = one.run.name

    def _announce(self, number: int, planned: Sequence[_Planned]) -> None:
        """Says how many runs there will be and how long they take, as far as that is known."""
        parts = " x ".join(f"{len(axis.values)} of `{axis.option}`" for axis in self.asked.axes)
        seeds = f" x {len(self.asked.seeds)} seeds" if len(self.asked.seeds) > 1 else ""
        done = f", of which {number - len(planned)} are trained" if len(planned) < number else ""
        known = find_usable(step_key(planned[0].plan), has_questions=False)
        if known is None:
            time_needed = "How long they take will be known after the first."
        else:
            runs = [_with_steps(one.plan) for one in planned]
            seconds = sum(training_seconds(known, batches, context) for context, batches in runs)
            time_needed = f"About {duration(seconds)} of training."
        self.emit(Note(f"{number} runs: {parts}{seeds}{done}. {time_needed}"))

    def _estimate(self, planned: Sequence[_Planned]) -> None:
        """Says how long the runs after the first will take, by its time and the tokens of all."""
        tokens = [_training_tokens(one.plan) for one in planned]
        seconds = planned[0].run.seconds * sum(tokens[1:]) / max(1, tokens[0])
        self.emit(Note(f"The other {len(planned) - 1} runs take about {duration(seconds)} of training."))

    def _train(self, planned: _Planned, total: int) -> None:
        """Trains a run to its end and notes the result; one that diverges is left out of the ranking."""
        run, number = planned.run, self.state.runs.index(planned.run) + 1
        self.emit(Stage(f"run {number} of {total}: {run.name}"))
        try:
            self._train_to_end(planned)
        except Interrupted as error:
            raise Interrupted(
                f"stopped in run {number} of {total}, `{run.name}`; the state is saved",
                fix="Give the same command again to go on from there",
            ) from error
        except BurnishError as error:
            if type(error) is not BurnishError:  # input or machine are wrong for all runs
                raise
            run.failure = error.what
            self.emit(Warned(f"`{run.name}` is left out of the ranking: {error.what}."))
        self.folder.write(self.state)
        gc.collect()
        free_memory()
        trim_heap()

    def _train_to_end(self, planned: _Planned) -> None:
        run, started = planned.run, time.time()
        folder = self.folder.run(run.name)
        if folder.recipe.is_file():  # an earlier process began it
            with write_lock(folder.path, "trained") as killed:
                log, recipe = EventLog(folder.path, self.listeners), open_recipe(folder, needs_metric=True)
                with tracked(recipe.track, recipe.option_values(), folder, log):
                    loop, context = continue_training(folder, recipe, killed, log, self.shared)
                    self._keep(run, loop, context, folder)
            return
        with NewRun(self.folder.path) as new:
            new.take(run.name)
            model = load(planned.plan, started - planned.seconds)
            if len(self.preparations) == 0 and self.shared.why_loaded_again:
                self.emit(Note(self.shared.why_loaded_again))
            begin_folder(model.context, folder, planned.log)
            record_trust(folder, model.context.recipe)
            run.preparation = time.time() - started + planned.seconds
            self.preparations.append(run.preparation)
            recipe = model.context.recipe
            with tracked(recipe.track, recipe.option_values(), folder, planned.log):
                loop = fit(model, folder)
                expected = model.expected.time
                if expected is not None and not loop.progress.stopped and not loop.progress.cycles:
                    model.context.emit(TimeMeasured(expected.run, loop.progress.seconds))
                self._keep(run, loop, model.context, folder)

    def _keep(self, run: SweepRun, loop: Loop, context: RunContext, folder: RunFolder) -> None:
        """Writes the best weights as the result, and evaluates them on the validation rows."""
        run.step, run.seconds = keep_best(loop, context, folder), loop.progress.seconds
        score = _score(loop.trainer.network, context, loop.held_out)
        self.scores[run.name], run.score = score, score.height
        result = str(context.method.result_folder(folder))
        context.emit(Finished(run.step, None, None, run.seconds, result, loop.progress.why_best()))
        run.is_done = True

    def _score_again(self, run: SweepRun) -> RunScore:
        """The score of a run that an earlier process trained."""
        folder = self.folder.run(run.name)
        context = prepare(open_recipe(folder, needs_metric=True), self.emit, self.shared)
        check_base(folder, context.location)
        if needs_base(context, context.validation):
            context = measure_on_base(context, load_from(context.location, context).network)
        network = open_result(context, result_of(folder))
        context.task.objective.inspect_model(network)
        return _score(network, context, HeldOut.of(context.batch_plan(context.validation), context.validation.owners))

    def _rank(self) -> Ranking:
        """Ranks the settings of which every run was trained."""
        self.emit(Stage("ranking the runs"))
        if len(good := self._ranked_settings()) == 0:
            raise BurnishError(
                "no run of this sweep could be trained to its end",
                "; ".join(f"`{run.name}`: {run.failure}" for run in self.state.runs[:3]) + ".",
                "Try other values, for example lower learning rates",
            )
        runs = [run for group in good for run in group]
        for run in runs:
            if run.name not in self.scores:
                self.scores[run.name] = self._score_again(run)
        context = self._any_context(runs[0])
        found = find_figure(context, [self.scores[run.name] for run in runs], [axis.option for axis in self.asked.axes])
        metrics = [read_events(self.folder.run(run.name).metrics) for run in runs]
        failed = [f"`{run.name}` failed: {run.failure}." for run in self.state.runs if run.failure]
        return rank_settings(
            [[run.name for run in group] for group in good],
            [group[0].setting for group in good],
            found.figures[0],
            training_noises(found.figures[0][0].name, found.scales, metrics),
            [*failed, *found.remarks],
        )

    def _ranked_settings(self) -> list[list[SweepRun]]:
        """The runs of every setting, of those without a failed run."""
        groups: list[list[SweepRun]] = []
        for run in self.state.runs:
            group = next((group for group in groups if group[0].setting == run.setting), None)
            if group is None:
                groups.append([run])
            else:
                group.append(run)
        return [group for group in groups if all(run.is_done for run in group)]

    def _any_context(self, run: SweepRun) -> RunContext:
        """The context of some run: all have the same validation rows and the same task."""
        if self.first is not None:
            return self.first.context
        return prepare(open_recipe(self.folder.run(run.name), needs_metric=True), self.emit, self.shared)

    def _conclude(self, ranking: Ranking) -> None:
        """Notes the ranking in `sweep.json` and in every run, and evaluates the winner on the test rows."""
        state, places = self.state, {name: rank for rank, one in enumerate(ranking.settings, 1) for name in one.runs}
        state.winner = max(ranking.winner.runs, key=lambda name: self._run(name).score)
        state.ranking = ranking.to_dict()
        state.saved_seconds += sum(max(0.0, self.preparations[0] - seconds) for seconds in self.preparations[1:])
        self.folder.write(state)
        for name, rank in places.items():
            folder = self.folder.run(name)
            log = EventLog(folder.path)
            log(Ranked(self.folder.name, rank, len(ranking.settings), name == state.winner))
            write_pages(folder)
        folder = self.folder.run(state.winner)
        recipe = recipe_from_saved(folder.recipe)
        comparison = evaluate(folder, None, self.listeners, int(recipe.evaluate.answers))
        chosen = self._run(state.winner)
        losses = [(one.base.value, one.tuned.value) for one in comparison.figures if one.name == "loss"]
        before, after = losses[0] if losses else (None, None)
        reason = next(line["reason"] for line in read_events(folder.events) if line["event"] == "Finished")
        EventLog(folder.path)(Finished(chosen.step, before, after, chosen.seconds, str(result_of(folder)), reason))
        write_pages(folder)
        state.is_finished = True
        self.folder.write(state)

    def _run(self, name: str) -> SweepRun:
        return next(run for run in self.state.runs if run.name == name)


def _score(network: Any, context: RunContext, held_out: HeldOut) -> RunScore:
    """What a trained network gives on the validation rows."""
    context.emit(Stage("evaluating the validation rows"))
    evaluated = evaluate_rows(network, context.task, held_out, context.recipe.model.precision)
    return score_of(evaluated, context.task.scorer, needs_base(context, context.validation))


def _spare(plan: RunPlan) -> int:
    """Bytes of the device that a run leaves free; 0 if its memory cannot be predicted."""
    needed = plan.bound if plan.fit is None else plan.fit.simulation.peak.total
    return 0 if needed is None else max(0, plan.budget.tensors - needed)


def _with_steps(plan: RunPlan) -> tuple[RunContext, BatchPlan]:
    """The run with the options that follow from its number of steps, unreported, and its training batches."""
    batches = plan.context.batch_plan(plan.context.training)
    resolver = Resolver(plan.context.recipe, lambda choice: None)
    resolve_by_steps(resolver, batches.steps_per_epoch, plan.context.training.num_tokens)
    return plan.context.with_recipe(resolver.recipe), batches


def _training_tokens(plan: RunPlan) -> int:
    """Tokens through the network in all steps, padding included."""
    context, batches = _with_steps(plan)
    return sum(batches.padded_tokens(step) for step in range(total_steps(context.recipe, batches.steps_per_epoch)))
