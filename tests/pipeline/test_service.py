"""A service answers as `azubi ask` does, whatever else it answers; and stays when something fails."""

import asyncio
import json
import random

import numpy as np
import pytest

from azubi.data.contract import Contract, parse_record
from azubi.data.example import Turn
from azubi.data.pii.pseudonyms import KeyFile
from azubi.errors import AnswerFailed, ContextTooLong, ServiceBusy, SettingError, UnknownSpecialist
from azubi.pipeline import ask
from azubi.pipeline.service import Finished, Inquiry, Piece, Service, whole
from azubi.registry.card import Redaction
from azubi.registry.store import Store
from tests import tiny
from tests.pipeline.runs import make
from tests.pipeline.test_deriving import RULE, rows
from tests.pipeline.untrained import LABELS, register

NOTES = [row["prompt"] for row in tiny.labels(10, seed=7)]
TRIAGE = Contract(task="labels", labels=LABELS)


@pytest.fixture(scope="module")
def office(bases, tmp_path_factory):
    """Specialists of every kind on the two tiny bases; the records are learned, all else is random."""
    folder = tmp_path_factory.mktemp("service")
    recorder = {"tail_layers": "all", "epochs": 20, "derive": {"team": RULE}}
    home = make(folder, bases.decoder, rows(96), name="recorder", **recorder).home
    register(home, bases.encoder, "sorter", TRIAGE, scope=True)
    register(home, bases.decoder, "triage", TRIAGE, seed=1, instruction="Sort it.")
    register(home, bases.decoder, "writer", Contract(task="text"), seed=2, scope=True)
    register(home, bases.decoder, "reader", Contract(task="text"), seed=3, prompt_layers=0, tail_layers=3)
    outside = {"name": "elsewhere", "scope": {"out_of_scope": "base"}}
    register(home, bases.decoder, "elsewhere", Contract(task="text"), seed=4, scope=True, recipe=outside)
    KeyFile(folder / "names.key").read_or_create()
    hidden = Redaction(policy="pseudonym", key_file=str(folder / "names.key"))
    register(home, bases.decoder, "discreet", Contract(task="text"), seed=5, hidden=hidden)
    return home


SPECIALISTS = ("recorder", "sorter", "triage", "writer", "reader", "elsewhere", "discreet")


@pytest.fixture
def service(office):
    service = Service(office, threads=1)
    yield service
    service.close(20)


def inquiry(model, text, **settings):
    return Inquiry(model, (Turn("user", text),), **settings)


async def collected(stream):
    """The text of all pieces, and the end."""
    text = ""
    async for item in stream:
        if isinstance(item, Finished):
            return text, item
        text += item.text


def answers(service, *inquiries):
    """Ask all at once; the ends of the answers, in order."""

    async def gathered():
        streams = [service.submit(each) for each in inquiries]
        return await asyncio.gather(*map(collected, streams))

    ends = asyncio.run(gathered())
    assert all(text == end.answer.text for text, end in ends)
    return [end for _, end in ends]


@pytest.mark.parametrize("name", SPECIALISTS)
def test_it_answers_as_ask_does(name, service, office):
    ends = answers(service, *(inquiry(name, note) for note in NOTES))
    want = ask.answer(office, name, NOTES)
    for end, wanted in zip(ends, want, strict=True):
        got = end.answer
        assert (got.text, got.by, got.in_scope, got.review) == (
            wanted.text,
            wanted.by,
            wanted.in_scope,
            wanted.review,
        )
        assert got.notes == wanted.notes and got.levels == wanted.levels
        assert got.confidence == pytest.approx(wanted.confidence, rel=1e-3)
        assert end.specialist == f"{name}@1" and end.prompt_tokens >= got.read > 0
    assert name == "recorder" or len({end.answer.text for end in ends}) > 1, (
        "one answer to everything proves nothing"
    )


def test_a_record_that_would_break_its_schema_keeps_it(service, office):
    fields = {"line": {"enum": ["home", "motor"]}, "amount": {"type": "integer", "minimum": 0, "maximum": 99}}
    schema = {"type": "object", "properties": fields, "required": ["line", "amount"]}
    contract = Contract(task="json", fields=("line", "amount"), json_schema=schema)
    base = Store(office).get("writer").base
    register(office, base, "wild", contract, seed=6, longest=60)
    ends = answers(service, *(inquiry("wild", note) for note in NOTES))
    records = [json.loads(end.answer.text) for end in ends if end.reason == "stop"]
    assert len(records) > 4 and all(list(record) == ["line", "amount"] for record in records)
    assert all(parse_record(answer.text) is None for answer in ask.answer(office, "wild", NOTES[:2]))


def test_derived_fields_are_computed(service):
    records = [json.loads(end.answer.text) for end in answers(service, inquiry("recorder", NOTES[0]))]
    assert all(record["team"] == ("S7" if record["amount"] > 50 else "K3") for record in records)


def test_what_was_hidden_is_put_back(service, office):
    note = "Call 0171 2345678 or jana.kern@example.org about the hail."
    (end,) = answers(service, inquiry("discreet", note))
    assert end.answer.text == ask.answer(office, "discreet", [note])[0].text


def test_a_base_answers_as_it_was_published(service, bases):
    name = bases.decoder.name
    (end,) = answers(service, inquiry(name, NOTES[0]))
    assert (end.answer.by, end.specialist) == ("base", name) and end.answer.text


def test_a_promotion_counts_from_the_next_request(bases, tmp_path):
    for seed in (1, 2):
        register(tmp_path, bases.encoder, "sorter", TRIAGE, seed=seed)
    service, log = Service(tmp_path, threads=1), Store(tmp_path).log
    named = []
    for version in (1, 2):
        with log.adding() as addition:
            addition.add("promote", "sorter", version)
        named += answers(service, inquiry("sorter@production", NOTES[0]))
    service.close(5)
    assert [end.specialist for end in named] == ["sorter@1", "sorter@2"]
    assert {model.name: model.kind for model in service.models()} == {
        "sorter": "specialist",
        "sorter@1": "specialist",
        "sorter@2": "specialist",
        "sorter@production": "alias",
        bases.encoder.name: "base",
    } | {
        model.name: "base"
        for model in service.models()
        if model.name in ("smollm2-135m", "minilm", "e5-small")
    }


def test_several_specialists_are_asked_about_one_document(service, office):
    names = ["writer", "reader", "sorter"]

    async def asked():
        streams = service.ask(names, (Turn("user", NOTES[0]),), "key")
        return {name: await whole(stream) for name, stream in streams.items()}

    ends = asyncio.run(asked())
    for name in names:
        assert ends[name].answer.text == ask.answer(office, name, [NOTES[0]])[0].text


def test_vectors_of_texts(service, bases):
    vectors, tokens = service.embed(bases.encoder.name, [*NOTES[:3], NOTES[0]])
    assert len(vectors) == 4 and tokens > 12
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    with pytest.raises(SettingError, match="makes no vectors"):
        service.embed(bases.decoder.name, ["x"])
    with pytest.raises(ContextTooLong):
        service.embed(bases.encoder.name, ["hail " * tiny.CONTEXT])


# What cannot be answered


def test_what_cannot_be_asked_is_refused_at_once(service):
    with pytest.raises(UnknownSpecialist, match="no specialist"):
        service.submit(inquiry("nobody", "x"))
    with pytest.raises(SettingError, match="temperature is 3"):
        service.submit(inquiry("writer", "x", temperature=3.0))


def test_a_question_that_is_too_long_is_told(service):
    with pytest.raises(ContextTooLong, match="at most 320"):
        answers(service, inquiry("writer", "hail " * tiny.CONTEXT))
    assert answers(service, inquiry("writer", NOTES[0]))


def test_a_model_that_fails_fails_one_request(service, monkeypatch):
    from azubi.engine.inference.answering import WrittenAnswers

    prompt = WrittenAnswers.prompt

    def broken(self, question, *given):
        if "BOOM" in question[0].content:
            raise RuntimeError("a bug")
        return prompt(self, question, *given)

    monkeypatch.setattr(WrittenAnswers, "prompt", broken)

    async def asked():
        streams = [service.submit(inquiry("writer", text)) for text in (NOTES[0], "BOOM", NOTES[1])]
        return await asyncio.gather(*map(whole, streams), return_exceptions=True)

    first, failed, last = asyncio.run(asked())
    assert isinstance(failed, AnswerFailed) and "RuntimeError" in failed.problem
    assert isinstance(first, Finished) and isinstance(last, Finished)


def test_a_full_queue_and_a_closed_service_refuse(office):
    service = Service(office, most_waiting=0, threads=1)
    with pytest.raises(ServiceBusy, match="wait for an answer"):
        service.submit(inquiry("writer", "x"))
    service.close(5)
    with pytest.raises(ServiceBusy, match="being stopped"):
        service.submit(inquiry("writer", "x"))


def test_closing_finishes_what_runs(office):
    service = Service(office, threads=1)
    stream = service.submit(inquiry("writer", NOTES[0]))
    service.close(20)
    assert asyncio.run(whole(stream)).answer.text


def test_what_is_not_done_in_time_is_refused(office):
    service = Service(office, threads=1)
    streams = [service.submit(inquiry("reader", note, most_tokens=200)) for note in NOTES]
    service.close(0)

    async def ends():
        return await asyncio.gather(*map(whole, streams), return_exceptions=True)

    assert any(isinstance(end, ServiceBusy) for end in asyncio.run(asyncio.wait_for(ends(), 30)))
    service._thread.join(10)
    assert not service._thread.is_alive()


def test_pieces_come_before_the_end(service):
    async def items():
        return [item async for item in service.submit(inquiry("writer", NOTES[0]))]

    *pieces, end = asyncio.run(items())
    assert isinstance(end, Finished) and pieces and all(isinstance(piece, Piece) for piece in pieces)


# Side by side


def test_fifty_at_a_time_get_what_each_would_get_alone(service, office):
    """Mixed specialists, random arrival: none is lost, and each answer is its own."""
    dice = random.Random(1)
    notes = [row["prompt"] for row in tiny.labels(50, seed=9)]
    names = [dice.choice(SPECIALISTS) for _ in notes]

    async def one(name, note):
        await asyncio.sleep(0.2 * dice.random())
        return await collected(service.submit(inquiry(name, note, reader=dice.choice("ab"))))

    async def all_of_them():
        return await asyncio.gather(*map(one, names, notes))

    ends = asyncio.run(all_of_them())
    for name in SPECIALISTS:
        asked = [note for note, of in zip(notes, names, strict=True) if of == name]
        got = [end for end, of in zip(ends, names, strict=True) if of == name]
        for (text, end), wanted in zip(got, ask.answer(office, name, asked), strict=True):
            assert text == end.answer.text == wanted.text
            assert (end.answer.by, end.answer.in_scope) == (wanted.by, wanted.in_scope)


def test_who_goes_away_frees_the_place(service):
    async def left():
        stream = service.submit(inquiry("reader", NOTES[0], most_tokens=200))
        task = asyncio.create_task(collected(stream))
        while not service.busy().running:
            await asyncio.sleep(0.001)
        task.cancel()
        for _ in range(200):
            if not service.busy().running:
                return stream.cancelled
            await asyncio.sleep(0.005)
        return False

    assert asyncio.run(left())
    assert answers(service, inquiry("reader", NOTES[0]))


# How it is written


def test_drawn_answers_are_those_of_their_seed(service):
    hot = {"temperature": 1.5, "top_p": 0.95}
    asked = [inquiry("reader", NOTES[0], seed=seed, **hot) for seed in (1, 2, 1, 3)]
    together = [end.answer.text for end in answers(service, *asked, inquiry("writer", NOTES[1]))][:4]
    (alone,) = answers(service, asked[0])
    assert together[0] == together[2] == alone.answer.text
    assert len(set(together)) == 3


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_answer_ends_before_a_stop_text_however_it_is_cut_into_tokens(service, size):
    (free,) = answers(service, inquiry("reader", NOTES[2]))
    text = free.answer.text
    places = range(2, len(text) - size)
    at = next(place for place in places if text.find(text[place : place + size]) == place)
    (cut,) = answers(service, inquiry("reader", NOTES[2], stop=("never there", text[at : at + size])))
    assert cut.answer.text == text[:at] and cut.reason == "stop"


def test_an_answer_is_cut_at_the_most_tokens(service):
    (free,) = answers(service, inquiry("reader", NOTES[2]))
    (cut,) = answers(service, inquiry("reader", NOTES[2], most_tokens=3))
    assert (cut.reason, cut.completion_tokens) == ("length", 3)
    assert free.answer.text.startswith(cut.answer.text.rstrip("\ufffd"))


@pytest.mark.parametrize("stop", [(), ("a",)])
def test_token_scores_are_the_tokens_that_are_sent(service, stop):
    async def pieces():
        asked = inquiry("reader", NOTES[2], top_logprobs=2, stop=stop)
        return [item async for item in service.submit(asked)]

    *pieces, end = asyncio.run(pieces())
    scores = [score for piece in pieces for score in piece.scores]
    spelled = b"".join(score.text_bytes for score in scores).decode(errors="replace")
    assert spelled.startswith(end.answer.text.rstrip("\ufffd"))
    assert stop or (spelled == end.answer.text and len(scores) == end.completion_tokens)
    for score in scores:
        best = score.alternatives[0]
        assert best == (score.token, score.text_bytes, pytest.approx(score.log_probability))
        assert len(score.alternatives) == 2 and score.log_probability <= 0


@pytest.mark.parametrize("name", ["sorter", "triage"])
def test_scores_of_labels_are_their_probabilities(name, service, office):
    asked = [inquiry(name, note, top_logprobs=3) for note in NOTES[:3]]

    async def pieces():
        return [[item async for item in service.submit(each)] for each in asked]

    for (piece, end), want in zip(asyncio.run(pieces()), ask.answer(office, name, NOTES[:3]), strict=True):
        (score,) = piece.scores
        assert score.token == end.answer.text == want.text
        assert np.exp(score.log_probability) == pytest.approx(want.confidence, rel=1e-3)
        assert {label for label, _, _ in score.alternatives} == set(LABELS)
        assert sum(np.exp(chance) for _, _, chance in score.alternatives) == pytest.approx(1, rel=1e-4)


SCHEMA = {
    "type": "object",
    "properties": {"line": {"enum": ["home", "motor"]}, "amount": {"type": "integer", "maximum": 99}},
    "required": ["line", "amount"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.2, "seed": 4}])
def test_an_answer_follows_the_schema_that_is_given(service, bases, settings):
    names = ["writer", "reader", bases.decoder.name]
    ends = answers(
        service, *(inquiry(name, NOTES[0], schema=SCHEMA, most_tokens=60, **settings) for name in names)
    )
    for end in ends:
        record = json.loads(end.answer.text)
        assert set(record) == {"line", "amount"} and record["line"] in ("home", "motor")
    any_object = inquiry("reader", NOTES[0], schema={}, most_tokens=150, temperature=1.0, seed=1)
    (end,) = answers(service, any_object)
    assert end.answer.text.startswith("{")


def test_a_record_keeps_its_schema_even_if_it_is_drawn(service):
    asked = [inquiry("recorder", note, temperature=1.5, seed=number) for number, note in enumerate(NOTES)]
    records = [json.loads(end.answer.text) for end in answers(service, *asked) if end.reason == "stop"]
    assert len(records) > 4 and all(list(record) == ["line", "team", "amount"] for record in records)


def test_labels_follow_no_schema(service):
    with pytest.raises(SettingError, match="follow no JSON schema"):
        answers(service, inquiry("triage", NOTES[0], schema=SCHEMA))
    with pytest.raises(SettingError, match="Answers are"):
        answers(service, inquiry("reader", NOTES[0], schema={"type": "object", "not": {"required": ["a"]}}))
