"""Events as a run of MLflow: in MLFLOW_TRACKING_URI, or else in a database below the home.

MLflow receives the figures; it keeps no specialists and decides nothing.
"""

import os
from pathlib import Path

from mlflow.tracking import MlflowClient

from azubi.events import events as ev
from azubi.pipeline.sinks.scalars import scalars

EXPERIMENT = "azubi"


class MLflow:
    """One run of the experiment `azubi`."""

    def __init__(self, name: str, home: Path) -> None:
        """Begin a run that is called `name`."""
        self._client = MlflowClient(
            os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home}/mlflow.sqlite"
        )
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id

    def handle(self, event: ev.Event) -> None:
        """Tell the settings once they are all chosen, and numbers as they come."""
        if isinstance(event, ev.Planned):
            for name, value in event.settings.items():
                if value is not None:
                    self._client.log_param(self._run, name, str(value)[:500])
        for name, value, step in scalars(event):
            self._client.log_metric(self._run, name, value, timestamp=round(event.at * 1000), step=step)

    def close(self, *, well: bool) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._run, "FINISHED" if well else "KILLED")
