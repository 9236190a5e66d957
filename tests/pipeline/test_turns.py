"""Every turn of the assistant carries loss: what the tail is taught is what the whole model would be."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.data.readers.reading import read
from azubi.engine.base.opening import open_base
from azubi.engine.model.batch import collate
from azubi.engine.specialist import new_specialist
from azubi.errors import DataError
from azubi.events import events as ev
from azubi.pipeline.run import run
from azubi.settings import Recipe
from tests import tiny


def talks(count=40):
    """Conversations of two questions and two answers."""
    rows = tiny.texts()
    return [
        {
            "messages": [
                {"role": "user", "content": rows[i % len(rows)]["prompt"]},
                {"role": "assistant", "content": rows[i % len(rows)]["answer"]},
                {"role": "user", "content": f"And number {i}?"},
                {"role": "assistant", "content": rows[(i + 1) % len(rows)]["answer"]},
            ]
        }
        for i in range(count)
    ]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in talks()))
    return path


@pytest.mark.parametrize("prime", ["", "Answer kindly."])
def test_the_loss_is_that_of_the_whole_model_at_every_answer(bases, data, home, prime):
    base = open_base(str(bases.decoder), home)
    cut = new_specialist(base, Contract(task="text"), 2, 0, 0, torch.float32)
    cut.set_instruction(prime)
    encoded = [cut.encode(example) for example in read(data, turns="all").examples[:6]]
    plain = [cut.encode(example) for example in read(data).examples[:6]]
    assert [example.tokens for example in encoded] == [
        example.tokens for example in plain
    ]  # so one entry in the cache
    assert [example.last_answer_only for example in encoded] == plain
    first = cut.instruction_tokens
    states = cut.activations.trunk.states(
        [example.tokens for example in encoded], cut.activations.instruction
    )[cut.activations.cut]
    known = {example.tokens: state for example, state in zip(encoded, states, strict=True)}
    known[()] = cut.activations.instruction.states[cut.activations.cut] if first else None
    with torch.no_grad():
        got = cut.tail.eval()(collate(encoded, known.get), known[()]).loss
        model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32).eval()
        losses = []
        for example in encoded:
            scores = model(torch.tensor([[*first, *example.tokens]])).logits[0, len(first) :]
            said = torch.nn.functional.cross_entropy(
                scores[list(example.target_positions)], torch.tensor(example.targets), reduction="none"
            )
            losses.append(said)
            texts = [base.tokenizer.decode(answer) for answer in example.answers]
            assert len(texts) == 2 and all(text.endswith("<|im_end|>") for text in texts)
    assert torch.allclose(got, torch.cat(losses).mean(), atol=1e-5)


@pytest.mark.parametrize("instruction", ["", "Answer kindly."])
def test_with_two_cuts_each_answer_is_an_example_that_the_base_read_up_to_it(bases, data, home, instruction):
    base = open_base(str(bases.decoder), home)
    whole, apart = (
        new_specialist(base, Contract(task="text"), 2, 0, 0, torch.float32, prompt_layers=layers)
        for layers in (2, 1)
    )
    for specialist in (whole, apart):
        specialist.set_instruction(instruction)
    examples = read(data, turns="all").examples[:6]
    together, parts = whole.encode_training(examples), apart.encode_training(examples)
    assert len(together) == 6 and len(parts) == 12
    for example, encoded, pair in zip(
        examples, together, zip(parts[::2], parts[1::2], strict=True), strict=True
    ):
        assert [part.targets for part in pair] == encoded.answers
        assert {part.question for part in pair} == {encoded.question}
        assert pair[1] == apart.encode(example) == encoded.last_answer_only
        assert encoded.tokens[: len(pair[0].tokens)] == pair[0].tokens
    # Before training the base's weights act everywhere: one loss, however the answers are put together.
    losses = []
    for specialist, encoded in ((whole, together), (apart, parts)):
        read_states = specialist.activations.reader(None)
        states = read_states(()) if specialist.instruction_tokens else None
        with torch.no_grad():
            losses.append(float(specialist.tail.eval()(collate(encoded, read_states), states).loss))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_an_answer_that_opens_another_is_refused_with_two_cuts(bases, home):
    base = open_base(str(bases.decoder), home)
    base.tokenizer.chat_template = None  # PLAIN opens an answer with words, which may stand anywhere
    specialist = new_specialist(base, Contract(task="text"), 2, 0, 0, torch.float32, prompt_layers=0)
    specialist.encode(Example((Turn("user", "Answer:"),), "No."))
    with pytest.raises(DataError, match=r"Line 7: 'Answer:' stands in the answer"):
        specialist.encode(Example((Turn("user", "Is it?"),), "It is.\nAnswer: No.", line=7))


@pytest.mark.parametrize("prompt_layers", [0, 2])
def test_one_example_stays_one_and_only_training_looks_at_earlier_answers(bases, data, home, prompt_layers):
    settings = {"name": "talk", "data": data, "base": str(bases.decoder), "task": "text", "epochs": 1}
    settings |= {"dtype": "float32", "threads": 1, "tail_layers": 2, "prompt_layers": prompt_layers}
    last, every = (list(run(Recipe(**settings, turns=turns), home)) for turns in ("last", "all"))

    def only_event(events, kind):
        return next(event for event in events if isinstance(event, kind))

    assert only_event(last, ev.DataReady).train == only_event(every, ev.DataReady).train
    # With one cut the tokens are the same.
    assert bool(only_event(every, ev.TrunkDone).computed) is not bool(prompt_layers)
    losses = [[event.loss for event in events if isinstance(event, ev.EpochDone)] for events in (last, every)]
    assert losses[0] != losses[1]
    assert only_event(every, ev.Measured).scores
