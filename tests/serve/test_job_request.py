"""What a request for a job becomes, and what is refused, with the field and a remedy."""

from pathlib import Path

import pytest

from azubi.registry.card import Card
from azubi.serve.job_request import SETTINGS, JobRequest, Start, order_of, slug, start_of
from azubi.serve.refusal import Refusal
from azubi.settings import DatabaseUrl, Recipe

START = Start({"base": "tiny"}, "tiny")


def request(**fields):
    return JobRequest.model_validate({"model": "tiny", "training_file": "file-1"} | fields)


def supervised(**values):
    return {"type": "supervised", "supervised": {"hyperparameters": values}}


def test_the_least_there_can_be():
    order = order_of(request(), START, "claims 2025.jsonl")
    assert order.settings == {
        "name": "claims-2025",
        "base": "tiny",
        "seed": 0,
        "limits": {"rejected": 0.0},
    }
    assert order.rate_multiplier is None and not order.prove


def test_hyperparameters_become_settings():
    method = supervised(n_epochs=3, batch_size=4, learning_rate_multiplier=0.5)
    for fields in ({"method": method}, {"hyperparameters": method["supervised"]["hyperparameters"]}):
        order = order_of(request(**fields), START, "t.jsonl")
        assert (order.settings["epochs"], order.settings["batch"]) == (3, 4)
        assert order.rate_multiplier == 0.5 and "learning_rate" not in order.settings
    auto = order_of(request(method=supervised(n_epochs="auto", batch_size="auto")), START, "t.jsonl")
    assert "epochs" not in auto.settings and "batch" not in auto.settings


def test_own_settings_come_from_two_places():
    given = {"azubi.tail_layers": "2", "azubi.split.test": "0.2", "azubi.prove": "true", "team": "claims"}
    order = order_of(
        request(metadata=given, azubi={"rank": 4, "limits": {"rejected": 0.1}}), START, "t.jsonl"
    )
    assert order.settings["tail_layers"] == 2 and order.settings["rank"] == 4
    assert order.settings["split"] == {"test": 0.2} and order.settings["limits"] == {"rejected": 0.1}
    assert order.prove and order.metadata == given


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"method": {"type": "dpo"}}, "method.type", "'dpo'"),
        ({"suffix": "x" * 65}, "suffix", "65 characters"),
        ({"suffix": "???"}, "suffix", "letters a to z"),
        ({"integrations": [{"type": "wandb"}]}, "integrations", "sends figures to nobody"),
        ({"azubi": {"tail_layer": 2}}, "azubi.tail_layer", "no setting 'tail_layer'"),
        ({"azubi": {"tail_layers": "deep"}}, "azubi.tail_layers", "'deep'"),
        ({"azubi": {"split": {"test": 0.9}}}, "azubi.split.test", "less than 0.5"),
        ({"azubi": {"epochs": 2}, "hyperparameters": {"n_epochs": 3}}, "azubi.epochs", "n_epochs"),
        (
            {"azubi": {"learning_rate": 0.1}, "hyperparameters": {"learning_rate_multiplier": 2}},
            "azubi.learning_rate",
            "learning_rate_multiplier",
        ),
        ({"azubi": {"rank": 2}, "metadata": {"azubi.rank": "4"}}, "azubi.rank", "given twice"),
        (
            {"azubi": {"split": "x"}, "metadata": {"azubi.split.test": "0.2"}},
            "azubi.split.test",
            "both given",
        ),
        ({"azubi": {"prove": "maybe"}}, "azubi.prove", "true or false"),
        ({"azubi": {"instruction": "@/etc/passwd"}}, "azubi.instruction", "names a file"),
        ({"azubi": {"sql": "sqlite:///x"}}, "azubi.sql", "not for requests"),
        ({"azubi": {"base": "/srv/model"}}, "azubi.base", "not for requests"),
        ({"azubi": {"threads": 64}}, "azubi.threads", "not for requests"),
        (
            {"hyperparameters": {"n_epochs": 2}, "method": supervised(n_epochs=3)},
            "hyperparameters",
            "they differ",
        ),
    ],
)
def test_refused_with_the_field_and_a_remedy(fields, field, words):
    with pytest.raises(Refusal) as refused:
        order_of(request(**fields), START, "t.jsonl")
    assert refused.value.status_code == 400
    assert refused.value.param == field and words in refused.value.detail


def test_a_request_names_no_file_and_nothing_of_the_machine():
    """Every setting whose type is a path or an address is kept from requests, and so is what they share."""
    for key, field in Recipe.model_fields.items():
        name = field.alias or key
        if "Path" in str(field.annotation) or DatabaseUrl.__name__ in str(field.annotation):
            assert name not in SETTINGS, name
    assert not SETTINGS & {"threads", "device", "cache", "sink", "base", "from", "name", "seed"}
    known = {field.alias or key for key, field in Recipe.model_fields.items()}
    assert known >= SETTINGS and Path in Recipe.model_fields["names"].annotation.__args__


def test_names():
    parent = Card.model_construct(name="claims", version=3)
    going_on = Start({"from": "claims@3"}, "tiny", parent)
    assert order_of(request(), going_on, "t.jsonl").settings["name"] == "claims"
    assert order_of(request(suffix="My Claims!"), going_on, "t.jsonl").name == "my-claims"
    assert order_of(request(), START, "../../Schäden.jsonl").name == "sch-den"
    assert order_of(request(), START, "日本.jsonl").name == "specialist"
    assert slug("..A:b..") == "a-b"


def test_a_base_is_one_that_lies_here(home, bases):
    (home / "bases").mkdir(parents=True)
    (home / "bases" / "tiny-llama").symlink_to(bases.decoder)
    assert start_of("tiny-llama", home).settings == {"base": str(home / "bases" / "tiny-llama")}
    for model in ("gpt-4o-mini", str(bases.decoder), "../bases/tiny-llama", "", ".", "claims@1"):
        with pytest.raises(Refusal, match="tiny-llama") as refused:
            start_of(model, home)
        assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
