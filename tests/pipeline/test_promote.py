"""Into production by the rules of the gate, with every refusal's reason; and back in one step."""

import json

import pytest
import torch

from azubi.cli import main
from azubi.errors import CorruptFile, PromotionRefused, SettingError
from azubi.evaluation import prediction
from azubi.evaluation.proof import prove_from
from azubi.pipeline import promote
from azubi.pipeline.proof.stages import FACTS, NUMBERS, PREDICTIONS
from azubi.pipeline.stages.packaging import write_version
from azubi.registry import card as cards
from azubi.registry import signature
from azubi.registry.store import Store
from tests.dying import die_at
from tests.evaluation import proof_sample
from tests.registry.sample import made

LEVELS = {"specialist": 0.9, "base": 0.1}
TAIL = {"head.weight": torch.arange(6.0).reshape(2, 3)}


def put(home, gate=None, **changes):
    """A version of claims that was never trained; returns its name."""
    version, folder = Store(home).reserve("claims")
    folder.mkdir(parents=True)
    recipe = {"name": "claims", **({"gate": gate} if gate else {})}
    card = made(name="claims", version=version, recipe=recipe, **changes)
    cards.write(card, folder)
    Store(home).register(card)
    return f"claims@{version}"


def prove(home, name, level=0.9, seed=0, n=240, rows=(), kind="deploy", **changes):
    """A proof of it, with made-up answers to the same questions and a verdict of this kind."""
    version = int(name.partition("@")[2])
    answers, facts = proof_sample.sample(n, seed=0, levels=LEVELS, parts=False)
    draw = proof_sample.random.Random(seed + 100 * version)
    truths = [row.truth for row in answers if (row.part, row.who) == ("test", "specialist")]
    others = [row for row in answers if row.who != "specialist"]
    own = proof_sample.answers("specialist", level, truths, draw)
    table = prediction.table([*others, *own, *rows])
    facts = facts.model_copy(update={"name": "claims", "version": version, **changes})
    folder = home / "proofs" / "claims" / str(version) / f"20261130-14000{seed}"
    folder.mkdir(parents=True)
    prediction.write(table, folder / PREDICTIONS)
    (folder / FACTS).write_text(facts.model_dump_json())
    proof = prove_from(table, facts)
    verdict = proof.verdict.model_copy(update={"kind": kind})
    (folder / NUMBERS).write_text(proof.model_copy(update={"verdict": verdict}).model_dump_json())
    return folder


def by_name(rules):
    return {rule.name: rule for rule in rules}


def refused(home, name, **options):
    with pytest.raises(PromotionRefused) as caught:
        promote.promote(name, home, **options)
    assert Store(home).aliases("claims").get("production") is None or name != "production"
    return caught.value


def test_the_first_version_needs_a_proof_and_no_rival(home):
    name = put(home)
    error = refused(home, name)
    assert "claims@1 was never proved" in error.problem
    assert "azubi prove claims@1" in error.remedy and "--force" in error.remedy
    prove(home, name)
    done = promote.promote("claims@candidate", home, "approved by Dr. Weber")
    assert (done.before, done.own_gate, done.entry.why) == (None, False, "approved by Dr. Weber")
    assert [rule.name for rule in done.rules if rule.holds is False] == []
    assert by_name(done.rules)["production"].text == "Nothing is in production yet."
    assert by_name(done.rules)["proof"].text == "Its proof says: deploy."
    assert Store(home).get("claims@production").version == 1
    with pytest.raises(SettingError, match="in production already"):
        promote.promote(name, home)


def test_a_proof_that_advises_against_it_stops_it(home):
    name = put(home)
    prove(home, name, kind="poor")
    assert "does not advise to deploy it (poor)" in refused(home, name).problem
    prove(home, name, kind="review", seed=1)
    assert by_name(promote.promote(name, home).rules)["proof"].holds
    other = put(home, {"proof": False, "margin": 1.0, "slice": 1.0})
    prove(home, other, kind="worse")
    assert by_name(promote.promote(other, home).rules)["proof"].holds is None


@pytest.fixture
def in_production(home):
    """claims@1 in production, right in nine of ten."""
    name = put(home)
    prove(home, name)
    promote.promote(name, home)
    return name


@pytest.mark.parametrize(
    ("gate", "level", "holds"),
    [
        (None, 0.98, True),
        ({"production": "better"}, 0.98, True),
        ({"production": "better"}, 0.9, False),
        ({"margin": 0.2, "slice": 1}, 0.9, True),
        ({"slice": 1}, 0.6, False),
    ],
)
def test_a_new_version_is_held_against_the_one_in_production(gate, level, holds, home, in_production):
    name = put(home, gate)
    prove(home, name, level)
    if holds:
        rule = by_name(promote.promote(name, home).rules)["production"]
        assert "Against claims@1:" in rule.text and "on 240 test examples" in rule.text
        assert Store(home).aliases("claims") == {"production": 2}
    else:
        assert "Against claims@1:" in refused(home, name).problem
        assert Store(home).aliases("claims") == {"production": 1, "candidate": 2}


def test_without_common_answers_it_says_what_to_run(home, in_production):
    name = put(home)
    prove(home, name, n=10)
    error = refused(home, name)
    assert "azubi compare claims@1 claims@2" in error.remedy
    folder = home / "proofs" / "compared" / "20261130-150000-000-claims@1-claims@2"
    folder.mkdir(parents=True)
    for letter, other in zip("ab", ("1", "2"), strict=True):
        answers = prove(home, f"claims@{other}", 0.99 if other == "2" else 0.9, seed=5)
        (answers / PREDICTIONS).rename(folder / f"predictions-{letter}.parquet")
    for path in (home / "proofs" / "claims").glob("*/20261130-140005/*"):
        path.unlink()
    assert by_name(promote.promote(name, home).rules)["production"].holds is True


def test_a_slice_that_lost_too_much_is_named(home, in_production):
    name = put(home, {"margin": 1.0})
    folder = prove(home, name)
    table = prediction.read(folder / PREDICTIONS)
    lost = (table["who"] == "specialist") & (table["truth"] == "Marine Desk") & (table["part"] == "test")
    table = table.with_columns(right=(table["right"] & ~lost))
    prediction.write(table, folder / PREDICTIONS)
    error = refused(home, name)
    assert "“Marine Desk” -" in error.problem and "Glass" not in error.problem


def test_leaks_and_forgetting_stop_it(home):
    name = put(home)
    leak = [
        prediction.Prediction("extraction", "specialist", number, kind="IBAN", right=number < 2)
        for number in range(5)
    ]
    kept = [
        prediction.Prediction("regression-set", who, number, right=who == "base")
        for who in ("base", "specialist")
        for number in range(30)
    ]
    prove(home, name, rows=[*leak, *kept], leaked=("test-1",))
    problem = refused(home, name).problem
    assert "1 test examples stand in training" in problem
    assert "2 of 5 personal values" in problem and "it lost 30" in problem
    again = put(home, {"leaks": 0.5, "regression_set": False})
    prove(home, again, rows=[*leak, *kept])
    assert promote.promote(again, home).own_gate


@pytest.mark.parametrize("name", ["other", "unknown", "cc-by-nc-4.0"])
def test_an_unknown_licence_or_one_against_business_stops_it_until_confirmed(name, home, capsys):
    version = put(home, {"proof": False}, licence=name)
    assert f"azubi licence confirm {version}" in refused(home, version).remedy
    assert main(["licence", "confirm", version, "--reason", "  "]) == 2
    assert main(["licence", "confirm", version, "--reason", "Legal, 30 Nov: internal use only"]) == 0
    rule = by_name(promote.promote(version, home).rules)["licence"]
    assert rule.holds and "Legal, 30 Nov" in rule.text
    other = put(home, {"proof": False, "production": "no worse"}, licence=name, base_sha256="cd" * 32)
    assert "licence" in refused(home, other).problem or "business" in refused(home, other).problem


def test_an_export_that_answers_otherwise_stops_it(home):
    name = put(home, {"proof": False})
    for passed in (False, True):
        with Store(home).log.adding() as addition:
            addition.add("export", "claims", 1, format="gguf", passed=passed)
        if not passed:
            assert "Exports whose answers differ too much: gguf" in refused(home, name).problem
    assert by_name(promote.promote(name, home).rules)["exports"].holds


def test_force_needs_a_reason_and_leaves_a_mark(home, capsys):
    name = put(home)
    with pytest.raises(SettingError, match="--force needs a reason"):
        promote.promote(name, home, force=True)
    assert main(["promote", name, "--force", "--reason", "the old one is on fire"]) == 0
    assert "✗ proof" in capsys.readouterr().out
    entry = Store(home).log.entries()[-1]
    assert entry.details["forced"] and entry.why == "the old one is on fire"
    assert main(["history", "claims"]) == 0
    shown = capsys.readouterr().out
    assert "promote (forced)" in shown and "on fire" in shown


def test_no_force_brings_damaged_files_into_production(home):
    name = put(home)
    path = home / "specialists" / "claims" / "1" / cards.CARD
    path.write_text(path.read_text() + " ")
    with pytest.raises(CorruptFile, match=r"specialist\.json"):
        promote.promote(name, home, "because", force=True)


def test_a_home_with_a_key_wants_a_signature(home):
    name = put(home, {"proof": False})
    signature.make_key(home)
    assert "azubi keygen --sign" in refused(home, name).remedy
    assert main(["keygen", "--sign"]) == 0
    assert by_name(promote.promote(name, home).rules)["signature"].holds


def test_rollback_is_one_step(home, in_production, capsys):
    with pytest.raises(SettingError, match="No version of claims was in production before"):
        promote.rollback("claims", home)
    name = put(home)
    promote.promote(name, home, "try", force=True)
    assert main(["rollback", "claims", "--reason", "complaints"]) == 0
    assert "claims@1 is in production again; version 2 is not" in capsys.readouterr().out
    assert Store(home).get("claims@production").version == 1
    assert Store(home).log.entries()[-1].why == "complaints"
    with pytest.raises(SettingError):
        promote.rollback("claims", home)


def test_a_version_is_not_rolled_back_to_if_its_files_changed(home, in_production):
    promote.promote(put(home), home, "try", force=True)
    path = home / "specialists" / "claims" / "1" / cards.CARD
    path.write_text(path.read_text() + " ")
    with pytest.raises(CorruptFile):
        promote.rollback("claims", home)
    assert Store(home).aliases("claims")["production"] == 2


def test_diff_and_audit(home, in_production, capsys):
    put(home, {"slice": 0.2}, counts={"train": 60, "validation": 5, "test": 40})
    assert main(["diff", "claims@production", "claims@candidate"]) == 0
    shown = capsys.readouterr().out
    assert "claims@1 → claims@2" in shown and 'gate: null → {"slice":0.2}' in shown.replace(": 0.2", ":0.2")
    assert main(["audit", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["entries"], document["versions"]) == (3, 2)
    assert main(["audit", "--contains", document["last_hash"][:12]]) == 0
    assert main(["audit", "--contains", "f" * 12]) == 2
    (home / "specialists" / "claims" / "2" / cards.CARD).write_text("{}")
    assert main(["audit"]) == 1


def state(home):
    store = Store(home)
    return {
        name: (sorted(specialist.versions), specialist.aliases)
        for name, specialist in store.log.specialists().items()
    }


def registered(home):
    store = Store(home)
    version, folder = store.reserve("claims")
    card = made(name="claims", version=version, recipe={"name": "claims", "gate": {"proof": False}})
    store.register(write_version(card, TAIL, "<html>", folder, home=home))


@pytest.mark.parametrize("what", ["register", "promote", "rollback", "delete"])
def test_killed_at_any_moment_the_registry_is_as_before_or_as_after(what, home, tmp_path):
    signature.make_key(home)
    works = {
        "register": lambda: registered(home),
        "promote": lambda: promote.promote("claims@3", home, "try", force=True),
        "rollback": lambda: promote.rollback("claims", home),
        "delete": lambda: Store(home).delete(Store(home).get("claims@3")),
    }
    for _ in range(3):
        registered(home)
    for name in ("claims@1", "claims@2"):
        promote.promote(name, home, "try", force=True)
    before, seen = state(home), list[object]()
    for step in range(1, 60):
        code = die_at(step, works[what])
        seen.append(state(home))
        for card in Store(home).all():
            Store(home).verify(card)
        if code == 0:
            break
        assert code == 9
        if seen[-1] != before and what == "register":
            break  # the next one would be another version
    else:
        pytest.fail("it never came to its end")
    assert seen[-1] != before and len(seen) > 2
    assert all(each in (before, seen[-1]) for each in seen), "before or after, never between"
    registered(home)  # and all goes on
