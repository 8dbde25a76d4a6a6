"""Runs and sweeps as objects: what `burnish.train`, `burnish.load_run` and `burnish.sweep` return."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.errors import InputError
from burnish.inference.rows import Answer
from burnish.inference.session import Session, open_session
from burnish.runs.description import describe_run, evaluation_of
from burnish.runs.folder import RunFolder, find_run
from burnish.runs.sweep_folder import SweepFolder, SweepState

if TYPE_CHECKING:
    from burnish.evaluate.comparison import Comparison
    from burnish.runs.events import Listener


class Run:
    """A run folder; its model is loaded on first use.

    Args:
        folder: of the run.
        base_model: folder of its base model, if it has been moved.
    """

    def __init__(self, folder: RunFolder, base_model: str | None = None) -> None:
        self.folder = folder
        self._base_model = base_model
        self._session: Session | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def summary(self) -> dict[str, Any]:
        """State, losses and recipe, as shown by `burnish show`.

        Raises:
            DamagedRun: a file of the run cannot be read.
        """
        return describe_run(self.folder)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """Base against tuned model; None if it has not been evaluated yet.

        Raises:
            DamagedRun: `evaluation.json` cannot be read.
        """
        return evaluation_of(self.folder)

    def evaluate(
        self,
        data: Any = None,
        answers: int = 200,
        listeners: Iterable[Listener] = (),
        general: str | None = None,
        harness: Sequence[str] = (),
    ) -> Comparison:
        """Evaluates the result against its base on the run's test rows, or on `data`.

        Args:
            data: rows to evaluate on: the name of a file, a folder or a hub dataset, or data as `burnish.train` takes
                it; None for the test rows, in which case `evaluation.json` is rewritten.
            answers: maximum number of rows that both models answer.
            listeners: receive every event.
            general: texts that show what the run forgot, instead of the recipe's `evaluate.general`.
            harness: tasks of lm-evaluation-harness to run on both models as well.

        Raises:
            InputError: the run has no result yet, or its data or base model has changed.
            MachineError: the harness was requested but is not installed.
        """
        from burnish.data.files.given import is_given, store_given
        from burnish.workflows.evaluate import evaluate

        name = data if data is None else str(store_given(data) if is_given(data) else data)
        return evaluate(self.folder, name, listeners, answers, general, harness, self._base_model)

    def generate(self, prompt: str, max_new_tokens: int = 256, temperature: float = 0.0) -> str:
        """The tuned model's answer to a prompt."""
        return self._loaded().generate(prompt, max_new_tokens, temperature)

    def chat(self, messages: list[dict[str, Any]], max_new_tokens: int = 256, temperature: float = 0.0) -> str:
        """The tuned model's answer to the last of several turns."""
        return self._loaded().chat(messages, max_new_tokens, temperature)

    def predict(
        self,
        data: Any,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        listeners: Iterable[Listener] = (),
    ) -> list[Answer]:
        """What the tuned model predicts for each row, whose answers or labels, if it has any, are not used.

        Args:
            data: the name of a file, a folder or a hub dataset; or data as `burnish.train` takes it.
            max_new_tokens: maximum length of an answer.
            temperature: 0 for the most likely answers.
            seed: of what is drawn otherwise.
            listeners: receive every event, such as the names of columns that are not used.

        Returns:
            Per row a dict as `burnish predict` writes it, without the number of the row. One with `error` alone is of a
            row for which nothing can be predicted.
        """
        from burnish.data.files.given import is_given, store_given
        from burnish.workflows.predict import Choices, predict_rows

        name = str(store_given(data) if is_given(data) else data)
        return predict_rows(self._loaded(), name, Choices(max_new_tokens, temperature, seed), listeners)

    def accept(self, answers: int = 200, listeners: Iterable[Listener] = ()) -> Run:
        """Makes a checkpoint, opened as `RUN@STEP`, the result of its run, like `burnish accept`; returns the run.

        Args:
            answers: maximum number of rows that both models answer, if it has to be evaluated.
            listeners: receive every event.

        Raises:
            InputError: no checkpoint was opened, or it is the result already.
        """
        from burnish.workflows.accept import accept

        return accept(self.folder, listeners, answers, self._base_model)

    def _loaded(self) -> Session:
        if self._session is None:
            self._session = open_session(
                self.folder.named, base_model=self._base_model, trusts_code=self.folder.trusts_code
            )
        return self._session

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A finished sweep."""

    path: Path
    """Its folder."""

    @property
    def state(self) -> SweepState:
        """All that `sweep.json` holds.

        Raises:
            InputError: it is missing.
        """
        state = SweepFolder(self.path).read()
        if state is None:
            raise InputError(f"there is no sweep in `{self.path}`")
        return state

    @property
    def ranking(self) -> dict[str, Any]:
        """The table: `settings`, the best first, and the `verdict`."""
        return self.state.ranking or {}

    @property
    def verdict(self) -> str:
        """Whether the best setting is better than the others beyond noise, in a few sentences."""
        return str(self.ranking.get("verdict", ""))

    @property
    def winner(self) -> Run:
        """The run that was chosen, which alone is evaluated."""
        return Run(SweepFolder(self.path).run(self.state.winner or ""))

    @property
    def runs(self) -> list[Run]:
        """All runs, in the order of their settings."""
        return [Run(SweepFolder(self.path).run(run.name)) for run in self.state.runs]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the evaluation of the winner."""
        state = self.state
        runs = [{**asdict(run), "path": str(self.path / run.name)} for run in state.runs]
        return {
            "name": self.path.name,
            "path": str(self.path),
            "winner": state.winner,
            "ranking": state.ranking,
            "runs": runs,
            "saved_seconds": state.saved_seconds,
            "evaluation": self.winner.evaluation,
        }

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r})"


def load_run(name: str, runs: str = "runs", base_model: str | None = None, trust: bool = False) -> Run:
    """Opens a run by name or path.

    Args:
        name: of the run, or its path.
        runs: folder that holds the run folders.
        base_model: folder of its base model, if it has been moved.
        trust: whether it may run the code that its recipe names.

    Raises:
        InputError: there is no such run.
    """
    return Run(find_run(name, runs, trust, takes_step=True), base_model)
