"""What a service holds: each base once, no weight twice, and no more tails than there is room for."""

import asyncio
import shutil
import sys
import time
from pathlib import Path

import pytest

from azubi.data.contract import Contract
from azubi.data.example import Turn
from azubi.engine.inference import decoding
from azubi.errors import CorruptFile, UnknownSpecialist
from azubi.pipeline import ask
from azubi.pipeline.names import Names
from azubi.pipeline.residents import Residents
from azubi.pipeline.service import Inquiry, Service, whole
from azubi.registry import card as cards
from azubi.registry.store import Store
from tests import tiny
from tests.pipeline.untrained import LABELS, register

NOTES = [row["prompt"] for row in tiny.labels(4, seed=7)]
TEXT, TRIAGE = Contract(task="text"), Contract(task="labels", labels=LABELS)
DEPTHS = {"one": (2, None, 0), "cut": (3, 1, 0), "reader": (2, 0, 0), "low": (2, None, 4)}
"""`tail_layers`, `prompt_layers` and `rank`."""


@pytest.fixture(scope="module")
def office(bases, tmp_path_factory):
    """Specialists on one decoder, and one on the encoder."""
    home = tmp_path_factory.mktemp("residents")
    for seed, (name, (depth, prompt_layers, rank)) in enumerate(DEPTHS.items(), start=1):
        more = {"tail_layers": depth, "prompt_layers": prompt_layers, "rank": rank, "seed": seed}
        register(home, bases.decoder, name, TEXT, instruction="Answer kindly.", **more)
    register(home, bases.encoder, "sorter", TRIAGE)
    return home


def residents(home, memory=1 << 30):
    return Residents(home, Names(home), memory, 1)


def answer(service, name, note=NOTES[0]):
    return asyncio.run(whole(service.submit(Inquiry(name, (Turn("user", note),)))))


@pytest.mark.parametrize("name", [*DEPTHS, "sorter"])
def test_a_stored_tail_answers_as_one_that_is_copied(name, office, bases):
    card = Store(office).get(name)
    copied, stored = ask.loaded(card, office), ask.loaded(card, office, only_answers=True)
    shared = ask.loaded(card, office, stored.model, only_answers=True)
    questions = [(Turn("user", note),) for note in NOTES]
    want = dict(copied.answering(8)(questions))
    for specialist in (stored, shared, stored):
        for number, each in specialist.answering(8)(questions):
            assert (each.text, each.confidence) == (want[number].text, want[number].confidence)
    assert stored.parameters == copied.parameters
    if copied.base.kind == "decoder":
        plain, left = (ask.loaded(card, office).base_model(8), stored.base_model(8))
        assert [dict(left(questions))[n].text for n in range(4)] == [
            dict(plain(questions))[n].text for n in range(4)
        ], "the base's own weights are as they were"


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what is mapped")
@pytest.mark.parametrize("name", ["one", "cut", "reader"])
def test_full_weights_stay_mapped_from_their_file(name, office):
    card = Store(office).get(name)
    tail = ask.loaded(card, office, only_answers=True).tail
    file = card.folder / cards.TAIL
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    places = [line[0].split("-") for line in lines if line[-1] == str(file.resolve())]
    spans = [range(int(start, 16), int(end, 16)) for start, end in places]
    assert all(any(each.data_ptr() in span for span in spans) for each in tail._shell.parameters())
    assert tail.nbytes <= file.stat().st_size


def test_weights_of_another_depth_are_refused(office):
    card = Store(office).get("one").model_copy(update={"tail_layers": 1, "prompt_layers": 1})
    with pytest.raises(CorruptFile, match="does not fit the base"):
        ask.loaded(card, office, only_answers=True)


def test_a_base_is_in_memory_once(office):
    tails = residents(office)
    models = {id(tails.get(f"{name}@1").specialist.model) for name in (*DEPTHS, "sorter")}
    assert len(models) == 2
    below = tails.base_below(tails.get("one@1"))
    assert id(below.specialist.model) in models
    assert tails.base_below(tails.get("reader@1")) is below


def test_those_not_asked_for_longest_leave_and_come_back(office):
    size = residents(office).get("one@1").size
    tails = residents(office, int(2.5 * size))
    for name in ("one@1", "reader@1", "one@1", "low@1"):
        tails.get(name)
    assert tails.loaded == ("one@1", "low@1") and tails.tail_bytes <= 2.5 * size
    tails.get("reader@1", in_use=["one@1"])
    assert tails.loaded == ("one@1", "reader@1")
    assert len(tails._models) == 1
    tails.get("sorter@1")
    tight = residents(office, 0)
    assert tight.get("one@1") and tight.get("sorter@1")
    assert tight.loaded == ("sorter@1",) and len(tight._models) == 1, "a base leaves with its last tail"


def test_a_service_answers_with_more_specialists_than_fit(office):
    service = Service(office, memory=1, threads=1)
    for name in (*DEPTHS, "sorter", *DEPTHS):
        assert answer(service, name).answer.text == ask.answer(office, name, NOTES[:1])[0].text
    assert len(service.busy().loaded) == 1
    service.close(5)


def test_files_are_verified_before_they_are_used(office, tmp_path):
    home = shutil.copytree(office, tmp_path / "home")
    path = home / "specialists" / "one" / "1" / cards.TAIL
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))
    service = Service(home, threads=1)
    with pytest.raises(CorruptFile, match=cards.TAIL):
        answer(service, "one")
    assert answer(service, "reader").answer.text
    service.close(5)


def test_a_name_means_what_the_registry_says_by_now(bases, tmp_path):
    names = Names(tmp_path)
    with pytest.raises(UnknownSpecialist):
        names.resolved("writer")
    for version in (1, 2, 3):
        register(tmp_path, bases.decoder, "writer", TEXT)
        assert [names.resolved("writer") for _ in range(3)] == [f"writer@{version}"] * 3
    with Store(tmp_path).log.adding() as addition:
        addition.add("promote", "writer", 2)
    assert names.resolved("writer@production") == "writer@2"
    with pytest.raises(UnknownSpecialist, match="no version '9'"):
        names.resolved("writer@9")
    assert names.resolved(bases.decoder.name) == bases.decoder.name
    (tmp_path / "specialists" / "writer" / "3" / cards.CARD).write_text("{")
    assert "writer@3" in {model.name for model in Names(tmp_path).all()}


def test_the_registry_is_not_read_for_each_request(office, monkeypatch):
    names, store = Names(office), Store(office)
    with store.log.adding() as addition:
        addition.add("promote", "one", 1)

    for _ in range(3):  # a reader tidies up behind a writer, which changes the files
        names.resolved("one")
        time.sleep(0.15)
    names.resolved("one")
    monkeypatch.setattr(names._store.log, "specialists", lambda: pytest.fail("it is read again"))
    assert names.resolved("one@production") == "one@1"


# Pages


def pages_of(service):
    """What is kept of prompts on the decoder."""
    (readings,) = [model.readings for model in service._residents._models if model.readings is not None]
    return readings


@pytest.fixture
def service(office):
    service = Service(office, threads=1)
    yield service
    service.close(10)


def ends(service, *inquiries):
    async def gathered():
        return await asyncio.gather(*(whole(service.submit(each)) for each in inquiries))

    return asyncio.run(gathered())


def asked(name, note=NOTES[0], reader="a"):
    return Inquiry(name, (Turn("user", note),), reader)


def test_what_was_read_is_kept_for_its_reader_alone(service, office):
    (first,) = ends(service, asked("reader"))
    (again,) = ends(service, asked("reader"))
    (other,) = ends(service, asked("reader", reader="b"))
    instruction = len(ask.loaded(Store(office).get("reader"), office).instruction_tokens)
    assert first.cached_tokens == other.cached_tokens == instruction
    assert 0 < again.prompt_tokens - again.cached_tokens < 8, "the invocation alone is left to be read"
    assert first.answer == again.answer == other.answer
    assert service.busy().page_bytes == pages_of(service).nbytes > 0


def test_a_document_is_read_once_for_several_specialists(service, office):
    names = ["one", "cut", "reader", "low", "sorter"]

    async def together():
        streams = service.ask(names, (Turn("user", NOTES[1]),), "a")
        return {name: await whole(stream) for name, stream in streams.items()}

    done = asyncio.run(together())
    for name, end in done.items():
        assert end.answer.text == ask.answer(office, name, [NOTES[1]])[0].text
    instruction = len(ask.loaded(Store(office).get("reader"), office).instruction_tokens)
    assert pages_of(service).read_tokens == done["reader"].cached_tokens - instruction > 8


def test_a_prompt_is_read_as_far_as_it_is_asked_and_no_further(service):
    ends(service, asked("reader"), asked("cut", NOTES[1]))
    kept = pages_of(service)._readings
    assert {len(reading.layers) for reading in kept.values()} == {4, 3}
    ends(service, asked("reader", NOTES[1]))
    assert [sorted(reading.states) for reading in kept.values()][-1] == [1, 2, 3, 4]


def test_pages_leave_where_there_is_no_room(office):
    service = Service(office, memory=4 * 30_000, threads=1)
    for note in NOTES:
        ends(service, asked("reader", note))
        assert service.busy().page_bytes <= 30_000
    assert 0 < len(pages_of(service)._readings) < len(NOTES)
    service.close(5)


def test_long_questions_of_one_cut_are_kept_and_short_ones_are_not(service, monkeypatch):
    monkeypatch.setattr(decoding, "_LONG", 40)
    long = " ".join(NOTES[:3])
    questions = [asked("one"), asked("one", long)]
    want, again = ([end for each in questions for end in ends(service, each)] for _ in range(2))
    assert [end.answer.text for end in again] == [end.answer.text for end in want]
    assert want[0].cached_tokens == again[0].cached_tokens < again[1].cached_tokens
