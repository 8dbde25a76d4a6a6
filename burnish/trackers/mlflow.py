"""MLflow, local: all runs of a folder in its `mlflow.db`, shown by `mlflow ui --backend-store-uri sqlite:///...`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from burnish.trackers.tracker import TrackedRun

FILE = "mlflow.db"
EXPERIMENT = "burnish"
_FOLDER = "burnish.folder"
"""The tag by which a resumed run is found again."""
_LONGEST = 6_000
"""Characters of a parameter's value that MLflow takes."""


class MLflow:
    """Parameters and metrics in a SQLite file; what else MLflow can keep is not used."""

    name: ClassVar[str] = "mlflow"

    def begin(self, run: TrackedRun, step: int) -> None:
        """Creates the run, or finds it again. MLflow keeps several values of a step; a resumed run's are the same."""
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client: Any = MlflowClient(tracking_uri=f"sqlite:///{run.runs / FILE}")
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(EXPERIMENT, artifact_location=(run.runs / "mlflow").as_uri())
        )
        folder = str(run.folder.absolute()).replace("'", "\\'")
        known = self._client.search_runs([number], f"tags.`{_FOLDER}` = '{folder}'")
        if known:
            self._id = known[0].info.run_id
            self._client.set_terminated(self._id, "RUNNING")
            return
        made = self._client.create_run(number, run_name=run.name, tags={_FOLDER: str(run.folder.absolute())})
        self._id = made.info.run_id
        parameters = [Param(name, text[:_LONGEST]) for name, text in run.texts().items()]
        for begin in range(0, len(parameters), 100):  # of one call
            self._client.log_batch(self._id, params=parameters[begin : begin + 100])

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures in one transaction."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(re.sub(r"[^\w/ .:-]", "_", name), value, now, step) for name, value in figures.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self) -> None:
        """Marks the run as finished."""
        self._client.set_terminated(self._id)
