"""Records under their schema: whatever the weights, every answer can be read and follows the schema."""

import json
import math
import random
import re

import pytest
import torch
from jsonschema import Draft202012Validator

from azubi.data import schema as schemas
from azubi.data import strict_json
from azubi.data.chat_template import Template
from azubi.data.contract import Contract, infer, parse_record, record_fault
from azubi.data.example import Turn
from azubi.engine.base.opening import open_base
from azubi.engine.inference import answering, constraints
from azubi.engine.inference.answering import WrittenAnswers, in_order
from azubi.engine.specialist import new_specialist
from tests import tiny


@pytest.fixture(scope="module")
def base(bases, tmp_path_factory):
    return open_base(str(bases.decoder), tmp_path_factory.mktemp("home"))


def rich(count=60, seed=0):
    """Records with every kind of field that a schema tells."""
    dice = random.Random(seed)
    return [
        {
            "line": dice.choice(["motor", "Möbel", 'said "so"']),
            "amount": dice.choice([None, round(dice.uniform(1, 99), 2)]),
            "day": f"2024-0{dice.randrange(1, 9)}-1{dice.randrange(9)}",
            "urgent": dice.random() < 0.5,
            "note": f'{dice.random()} grün\n\\ "ja"',
            "tags": [dice.choice("abc") for _ in range(dice.randrange(3))],
            "who": {"name": f"N {dice.random()}", "age": dice.randrange(99)},
        }
        for _ in range(count)
    ]


def contract_of(records):
    return infer([strict_json.write(record) for record in records], "json")


def holding(base, contract, like=""):
    return constraints.schema_constraints(
        contract, base.tokenizer, Template(base.tokenizer), base.config.vocab_size, like
    )


def walked(base, begin, answer):
    """Whether an answer's own tokens are all allowed, up to the end."""
    constraint = begin()
    template = Template(base.tokenizer)
    for token in template.answer_ids(answer)[:-1]:
        if token not in constraint.allowed().tolist():
            return False
        constraint.take(token)
    return constraint.settled() == ()


def test_every_record_of_the_data_is_allowed_as_it_is_written(base):
    records = rich()
    constraint = holding(base, contract_of(records))
    assert constraint.note == ""
    assert all(walked(base, constraint.begin, strict_json.write(record)) for record in records)


@pytest.mark.parametrize(
    "change",
    [
        {"line": "ship"},
        {"amount": "12"},
        {"day": "2024-02-31x"},
        {"urgent": None},
        {"tags": [1]},
        {"who": {"name": "N"}},
        {"more": 1},
    ],
    ids=str,
)
def test_what_breaks_the_schema_is_not_allowed(base, change):
    records = rich()
    constraint = holding(base, contract_of(records))
    assert not walked(base, constraint.begin, strict_json.write(records[0] | change))


def test_fields_stand_in_the_order_of_the_examples(base):
    records = rich()
    constraint = holding(base, contract_of(records))
    turned = dict(reversed(records[0].items()))
    assert walked(base, constraint.begin, strict_json.write(records[0]))
    assert not walked(base, constraint.begin, strict_json.write(turned))


@pytest.mark.parametrize(
    ("like", "layout"),
    [
        ("", {}),
        ('{"a": [1, 2]}', {}),
        ('{"a":[1,2]}', {"separators": (",", ":")}),
        ('{\n  "a": 1\n}', {"indent": 2}),
    ],
)
def test_whitespace_is_that_of_the_examples(base, like, layout):
    records = rich()
    begin = holding(base, contract_of(records), like).begin
    answer = json.dumps(records[0], ensure_ascii=False, **layout)
    assert walked(base, begin, answer)
    other = json.dumps(records[0], ensure_ascii=False, separators=(" ,", " :"))
    assert walked(base, begin, other) is ("\n" in like)  # a layout over several lines is not held


def test_what_stands_in_front_of_an_answer_is_allowed(base):
    """Bases without a template of their own write `Answer: {`, whose space belongs to the answer."""
    tokenizer = base.tokenizer
    kept, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        records = rich()
        constraint = constraints.schema_constraints(
            contract_of(records), tokenizer, Template(tokenizer), base.config.vocab_size
        )
        assert Template(tokenizer).answer_ids("{}")[0] != tokenizer.encode("{")[0]
        assert walked(base, constraint.begin, strict_json.write(records[0]))
    finally:
        tokenizer.chat_template = kept


def test_derived_fields_are_not_written(base):
    records = rich()
    contract = contract_of(records).deriving({"urgent": "amount > 5.0", "tags": "[]"})
    begin = holding(base, contract).begin
    learned = {name: value for name, value in records[0].items() if name not in contract.derived}
    assert walked(base, begin, strict_json.write(learned))
    assert not walked(base, begin, strict_json.write(records[0]))


@pytest.mark.parametrize(
    ("part", "allowed", "refused"),
    [
        ({"type": "string", "pattern": "^(?=a)b$"}, '"x"', "1"),
        ({"type": "string", "format": "postcode"}, '"x"', "1"),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "[1, 1]", '["a"]'),
        ({"not": {"type": "string"}}, '"x"', None),
    ],
)
def test_a_schema_that_is_not_known_is_relaxed_and_says_so(base, part, allowed, refused):
    schema = {"type": "object", "properties": {"a": part, "b": {"type": "integer"}}, "required": ["a", "b"]}
    contract = Contract(task="json", fields=("a", "b"), json_schema=schema)
    constraint = holding(base, contract)
    assert "types of the fields alone" in constraint.note
    assert walked(base, constraint.begin, f'{{"a": {allowed}, "b": 3}}')
    assert refused is None or not walked(base, constraint.begin, f'{{"a": {refused}, "b": 3}}')


def test_a_contract_without_a_schema_holds_its_fields(base):
    constraint = holding(base, Contract(task="json", fields=("a", "b")))
    assert constraint.note == ""
    assert walked(base, constraint.begin, '{"a": [1, {"x": null}], "b": "y"}')
    assert not walked(base, constraint.begin, '{"a": 1}')


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29",
        "2000-02-29",
        "0001-01-31",
        "2023-11-30",
        "2023-12-31",
        "2023-02-29",
        "1900-02-29",
        "0000-01-01",
        "0000-02-29",
        "2023-11-31",
        "2023-13-01",
        "2023-1-1",
        "2024-02-29T23:59",
        "2024-02-29T00:00:01.5",
        "2024-02-29T10:00:00Z",
        "2024-02-29T10:00+01:00",
        "2024-02-29T24:00",
        "2024-02-29T10:60",
        "2024-02-29T1",
        "2024-02-29T10:00:00z0",
    ],
)
def test_dates_are_those_that_the_check_of_data_takes(text):
    kind = "date" if len(text) == 10 else "date-time"
    fine = not schemas.Checker({"properties": {"a": {"type": "string", "format": kind}}}).faults({"a": text})
    assert bool(re.fullmatch(constraints.FORMATS[kind], text)) is fine


def test_a_tokenizer_of_python_is_named(base):
    constraint = constraints.schema_constraints(contract_of(rich()), object(), Template(base.tokenizer), 9)
    assert constraint.begin is None
    assert "not held to the schema" in constraint.note and "object" in constraint.note


# Whole answers of models with random weights.


def answers(base, contract, longest, seed, prompts=12, mode="constrained"):
    both = new_specialist(base, contract, 2, 0, seed, torch.float32)
    generator = torch.Generator().manual_seed(seed)
    for weight in both.tail.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    both.set_instruction("Answer with one JSON object.")
    asked = [(Turn("user", note),) for note, _, _ in tiny.notes(prompts, seed)]
    return in_order(both.answering(longest, mode), asked)


@pytest.mark.parametrize("longest", [1, 9, 40, 120])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_answer_is_a_record_of_the_schema(base, longest, seed):
    contract = contract_of(rich())
    # Random weights write numbers such as 3E788, which the grammar of JSON has, and no record: see below.
    contract.json_schema["properties"]["amount"] |= {"minimum": -1e12, "maximum": 1e12}
    validator = Draft202012Validator(contract.json_schema)
    given = answers(base, contract, longest, seed)
    assert len(given) == 12
    for answer in given:
        record = parse_record(answer.text)
        assert record is not None, answer.text
        assert list(validator.iter_errors(record)) == []
        assert schemas.Checker(contract.json_schema).faults(record) == []
        assert tuple(record) == contract.fields
        assert 0 <= answer.confidence <= 1


def test_without_bounds_only_a_number_out_of_range_keeps_an_answer_from_being_a_record(base):
    given = [record_fault(answer.text) for answer in answers(base, contract_of(rich()), 120, 2)]
    assert any(given) and all("out of range" in fault for fault in given if fault)


def test_free_answers_of_the_same_model_are_no_records(base):
    """Else the test above would show nothing."""
    given = answers(base, contract_of(rich()), 60, 0, mode="unconstrained")
    assert all(parse_record(answer.text) is None for answer in given)


def test_derived_fields_are_computed_after_what_was_held(base):
    records = [{"line": line, "amount": amount, "dear": amount > 50} for _, line, amount in tiny.notes(60)]
    contract = contract_of(records).deriving({"dear": "amount > 50"})
    for answer in answers(base, contract, 50, 0):
        record = parse_record(answer.text)
        assert record is not None and record["dear"] is (record["amount"] > 50)


def test_confidence_is_the_product_over_what_was_allowed(base):
    """Two fields of a closed set: the chances of all records add up to one."""
    records = [{"a": a, "b": b} for a in ("x", "yy") for b in (True, False)] * 4
    contract = contract_of(records)
    both = new_specialist(base, contract, 2, 0, 0, torch.float32)
    both.set_instruction("")
    answering = both.answering(40, "constrained")
    assert isinstance(answering, WrittenAnswers)
    question = (Turn("user", "The car was hit by hail."),)
    (best,) = in_order(answering, [question])
    model = base.load()
    template = Template(base.tokenizer)
    encoded = template.encode("", question)

    def chance(tokens):
        constraint, share = answering.constraint(), 1.0
        for place, token in enumerate(tokens):
            if constraint.settled() is not None:
                break
            allowed = constraint.allowed()
            path = [*encoded.instruction_ids, *encoded.prompt_ids, *tokens[:place]]
            scores = model(input_ids=torch.tensor([path])).logits[0, -1]
            share *= float(scores[token].exp() / scores[allowed].exp().sum())
            constraint.take(token)
        return share

    # The answer's tokens need not be the tokenizer's own choice: they are walked as they were written.
    ((_, done),) = answering.generator.write([encoded.prompt_ids], 40, answering.constraint)
    assert template.decode(done.tokens) == best.text
    assert done.ended
    assert best.confidence == pytest.approx(chance(done.tokens), rel=1e-3)
    assert math.isclose(best.confidence, done.confidence)


# What is foreseen.


def foreseen(constraint, tokens):
    """How many of an answer's tokens were foreseen when they came, and how many foresights were wrong."""
    right = wrong = 0
    place = 0
    while place < len(tokens):
        draft = constraint.forced()
        hits = 0
        for token in draft[: len(tokens) - place]:
            if token != tokens[place + hits]:
                wrong += 1
                break
            hits += 1
        right += hits
        for token in tokens[place : place + hits + 1]:
            constraint.take(token)
        place += hits + 1
    return right, wrong


def test_the_names_of_fields_are_foreseen(base):
    records = rich()
    schema_constraint = holding(base, contract_of(records))
    template = Template(base.tokenizer)
    for record in records[:10]:
        tokens = template.answer_ids(strict_json.write(record))[:-1]
        for constraint in (
            schema_constraint.begin(),
            constraints.DraftFromGrammar(schema_constraint.begin()),
        ):
            right, wrong = foreseen(constraint, tokens)
            names = sum(len(template.answer_ids(name)) - 1 for name in record)
            assert right >= names / 2 and wrong <= len(record)


def test_an_answer_that_leaves_its_form_is_followed_no_further(base):
    schema_constraint = holding(base, contract_of(rich()))
    constraint = constraints.DraftFromGrammar(schema_constraint.begin())
    assert constraint.forced() and constraint.allowed() is None
    for token in Template(base.tokenizer).answer_ids("No record at all.")[:-1]:
        constraint.take(token)
        assert constraint.settled() is None
    assert constraint.forced() == () and constraint.ending() == ()


def test_a_record_that_is_closed_may_go_on(base):
    records = rich()
    constraint = constraints.DraftFromGrammar(holding(base, contract_of(records)).begin())
    template = Template(base.tokenizer)
    for token in template.answer_ids(strict_json.write(records[0]))[:-1]:
        constraint.take(token)
    assert constraint.settled() is None and constraint.forced() == ()
    constraint.take(template.end_id)
    assert constraint.forced() == ()


def test_a_record_that_is_written_alone_is_foreseen(base, monkeypatch):
    made = []

    class Counted(constraints.DraftFromGrammar):
        def __init__(self, follower):
            made.append(follower)
            super().__init__(follower)

    monkeypatch.setattr(answering, "DraftFromGrammar", Counted)
    both = new_specialist(base, contract_of(rich()), 2, 0, 0, torch.float32)
    both.set_instruction("Answer with one JSON object.")
    asked = [(Turn("user", note),) for note, _, _ in tiny.notes(4, 0)]
    free = [answer.text for answer in in_order(both.answering(20, "unconstrained"), asked)]
    assert made == []
    constrained = both.answering(20)
    assert [in_order(constrained, [question])[0].text for question in asked] == free and len(made) == 4
    assert [answer.text for answer in in_order(constrained, asked)] == free and len(made) == 4
