"""The same figures reach every sink; a library that is missing is said, one that fails stops nothing."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline.run import run
from azubi.pipeline.sinks import scalars
from azubi.settings import Recipe
from tests import tiny


@pytest.fixture
def settings(bases, tmp_path):
    def make(sink):
        return Recipe(
            name="tiny",
            data=tiny.write(tmp_path / "notes.jsonl", tiny.labels()),
            base=str(bases.encoder),
            tail_layers=1,
            epochs=2,
            threads=1,
            sink=sink,
        )

    return make


@pytest.mark.parametrize("sink", ["tensorboard", "mlflow"])
def test_a_missing_library_is_said_before_anything_is_done(sink, settings, home, monkeypatch):
    for name in ("tensorboard", "tensorboard.summary", "mlflow", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingError, match=rf"pip install 'azubi\[{sink}\]'"):
        list(run(settings(sink), home))
    assert not list(home.glob("runs/*"))


class Client:
    """What the sink asks of MLflow's client."""

    made = ()

    def __init__(self, uri):
        self.uri, self.params, self.metrics, self.status = uri, {}, [], None
        Client.made = (*Client.made, self)

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"id of {name}"

    def create_run(self, experiment, run_name):
        self.run = run_name
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r"))

    def log_param(self, run, name, value):
        self.params[name] = value

    def log_metric(self, run, name, value, timestamp, step):
        self.metrics.append((name, value, step))

    def set_terminated(self, run, status):
        self.status = status


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setattr(Client, "made", ())
    for name, content in (("mlflow", {}), ("mlflow.tracking", {"MlflowClient": Client})):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Client


def test_mlflow_hears_settings_and_figures(mlflow, settings, home):
    events = list(run(settings("mlflow"), home))
    (client,) = mlflow.made
    assert client.uri == f"sqlite:///{home}/mlflow.sqlite" and client.status == "FINISHED"
    assert client.run == Path(events[0].folder).name
    assert client.params["epochs"] == "2" and client.params["tail_layers"] == "1"
    assert client.metrics == [scalar for event in events for scalar in scalars(event)]
    assert {"train/loss", "epoch/validation_loss", "test/specialist/accuracy"} <= {
        m[0] for m in client.metrics
    }


def test_a_run_that_stops_is_told_so(mlflow, settings, home):
    events = run(settings("mlflow"), home)
    for event in events:
        if event.kind == "step_done":
            break
    events.close()
    assert mlflow.made[0].status == "KILLED"


def test_a_sink_that_fails_stops_nothing(mlflow, settings, home, monkeypatch):
    def away(*given, **named):
        raise ConnectionError("the server is away")

    monkeypatch.setattr(Client, "log_metric", away)
    with pytest.warns(UserWarning, match="MLflow failed, the run goes on: the server is away") as caught:
        events = list(run(settings("mlflow"), home))
    assert events[-1].kind == "run_ended"
    assert len([warning for warning in caught if "the run goes on" in str(warning.message)]) == 1


def test_the_sink_makes_no_other_run(mlflow, settings, home):
    events = run(settings(None), home)
    for event in events:
        if event.kind == "step_done":
            break
    events.close()
    again = run(settings("mlflow"), home)
    assert next(again).again
    again.close()


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="pip install 'azubi[tensorboard]'"
)
def test_tensorboard_reads_what_was_written(settings, home):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = list(run(settings("tensorboard"), home))
    read = EventAccumulator(f"{events[0].folder}/tensorboard", size_guidance={"tensors": 0}).Reload()
    losses = [(event.step, event.loss) for event in events if isinstance(event, ev.StepDone)]
    points = read.Tensors("train/loss")
    values = [(point.step, point.tensor_proto.float_val[0]) for point in points]
    assert values == [(step, pytest.approx(loss, rel=1e-6)) for step, loss in losses]
    assert len(read.Tensors("epoch/validation_loss")) == 2
