"""What takes up room is listed with what it would cost to make again, and removed when that is wanted."""

import json
import os
import time

import pytest

from azubi.cli import main
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline import purge
from azubi.registry.runs import Runs
from azubi.registry.store import Store
from tests.pipeline.test_promote import prove, put


@pytest.fixture
def used(home):
    """A home with a run, a proof, activations and two versions."""
    name = put(home)
    put(home)
    folder = prove(home, name)
    ended = ev.StageSummed(stage="report", text="", at=0, elapsed=300.0)
    (folder / "events.jsonl").write_text(ended.model_dump_json() + "\n")
    run = Runs(home).begin("claims", "x", {})
    for event in (
        ev.RunStarted(name="claims", folder="", settings={}),
        ev.StageStarted(stage="trunk", elapsed=0.0),
        ev.RunEnded(seconds=240.0, elapsed=240.0),
    ):
        run.log(event)
    run.release()
    (home / "cache").mkdir()
    (home / "cache" / "x.bin").write_bytes(bytes(5000))
    return home


def by_kind(items):
    return {item.kind: item for item in items}


def test_everything_is_named_with_size_age_and_cost(used):
    items = by_kind(purge.find(used))
    assert set(items) == {"cache", "runs", "proofs"}
    assert items["cache"].bytes == 5000 and items["cache"].cost.startswith("about 4 minutes")
    assert items["proofs"].cost.startswith("about 5 minutes") and "one more access" in items["proofs"].cost
    assert "only the log" in items["runs"].cost
    version = by_kind(purge.find(used, ["claims@2"]))["version"]
    assert version.name == "claims@2" and "azubi tune recipe.yaml" in version.cost


def test_by_age_size_and_name(used):
    assert purge.find(used, larger="1GB") == [] and purge.find(used, older="1d") == []
    assert [item.kind for item in purge.find(used, larger="4kB", name="claims")] in (
        ["proofs"],
        ["proofs", "runs"],
    )
    old = time.time() - 3 * 86_400
    os.utime(used / "cache" / "x.bin", (old, old))
    assert [item.kind for item in purge.find(used, older="2d")] == ["cache"]
    for wrong in ({"older": "soon"}, {"larger": "much"}):
        with pytest.raises(SettingError):
            purge.find(used, **wrong)
    with pytest.raises(SettingError, match="“bases” is nothing"):
        purge.find(used, ["bases"])


def test_nothing_goes_without_yes_and_the_log_stays(used, capsys):
    assert main(["purge", "claims@2", "proofs"]) == 0
    assert "Nothing was removed" in capsys.readouterr().out
    assert Store(used).get("claims@2")
    assert main(["purge", "claims@2", "proofs", "--yes", "--reason", "a try", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["removed"] and len(document["items"]) == 2
    assert purge.find(used, ["proofs"]) == [] and sorted(
        Store(used).log.specialists()["claims"].versions
    ) == [1]
    entry = Store(used).log.entries()[-1]
    assert (entry.action, entry.version_name, entry.why) == ("delete", "claims@2", "a try")


def test_what_is_in_use_stays(used):
    with Store(used).log.adding() as addition:
        addition.add("promote", "claims", 1)
    with pytest.raises(SettingError, match="claims@1 is in production"):
        purge.find(used, ["claims@1"])
    run = Runs(used).begin("claims", "y", {})
    assert run.id not in {item.name.split()[-1] for item in purge.find(used, ["runs"])}
    run.release()
