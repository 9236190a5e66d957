"""A service answers as `azubi ask` does, whatever else it answers; and stays when something fails."""

import asyncio
import json

import numpy as np
import pytest

from azubi.data.contract import Contract
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

    decode = WrittenAnswers._tokens

    def broken(self, question):
        if "BOOM" in question[0].content:
            raise RuntimeError("a bug")
        return decode(self, question)

    monkeypatch.setattr(WrittenAnswers, "_tokens", broken)

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


def test_pieces_come_before_the_end(service):
    async def items():
        return [item async for item in service.submit(inquiry("writer", NOTES[0]))]

    *pieces, end = asyncio.run(items())
    assert isinstance(end, Finished) and pieces and all(isinstance(piece, Piece) for piece in pieces)
