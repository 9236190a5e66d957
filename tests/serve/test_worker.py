"""A worker checks a job's files as training reads them, and says which line cannot be used."""

import json

import pytest

from azubi.serve import worker
from azubi.serve.jobs import Jobs, Order
from azubi.serve.uploads import Uploads


def conversation(answer="motor", question="The car was hit by hail", role="assistant"):
    return {"messages": [{"role": "user", "content": question}, {"role": role, "content": answer}]}


def lines(*rows):
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()


GOOD = [conversation(question=f"question {n}") for n in range(11)]


def checked(home, training, validation=None, **settings):
    uploads, jobs = Uploads(home), Jobs(home)
    ids = [
        content and uploads.add("k", "t.jsonl", "fine-tune", [content]).id
        for content in (training, validation)
    ]
    given = {"name": "claims", "base": "tiny", "seed": 0, "limits": {"rejected": 0.0}} | settings
    order = Order(model="tiny", training_file=ids[0], validation_file=ids[1], name="claims", settings=given)
    job = jobs.create("k", order, "ft:tiny:acme:claims", 9)
    worker.check(job, home)
    return jobs.find(job.id)


def test_sound_files_are_queued(home):
    job = checked(home, lines(*GOOD), lines(conversation()))
    assert (job.status, job.error) == ("queued", None)
    said = [event.message for event in Jobs(home).events(job.id, "event", None, 9)]
    assert said[:3] == [
        "The files are sound; the job is queued.",
        "t.jsonl has 1 examples.",
        "t.jsonl has 11 examples.",
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            conversation(role="user"),
            "line 4: the conversation ends with a message of the user, not with an answer",
        ),
        (conversation(role="robot"), 'line 4: message 2 has the role "robot"'),
        (conversation(answer=""), "line 4: no answer"),
        ({"messages": []}, "line 4: “messages” is not a list with messages in it"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "line 4: no message of the user"),
        ({"text": "no conversation"}, "line 4 has no column “prompt”"),
        ('{"messages": [', "line 4 is not JSON"),
        ('["a list"]', "line 4 is JSON, but not an object"),
    ],
)
def test_a_line_that_cannot_be_used_fails_the_job_by_its_number(home, row, words):
    job = checked(home, lines(*GOOD[:3], row, *GOOD[3:]))
    assert job.status == "failed" and words in job.error.message, job.error.message
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert "--" not in job.error.message


def test_a_bad_validation_file_is_named(home):
    job = checked(home, lines(*GOOD), lines(conversation(role="user")))
    assert (job.error.code, job.error.param) == ("invalid_validation_file", "validation_file")


def test_fewer_than_ten_examples(home):
    job = checked(home, lines(*GOOD[:9]))
    assert job.error.code == "invalid_n_examples" and "has 9 examples" in job.error.message


def test_bad_lines_may_be_left_out_if_that_is_wanted(home):
    rows = lines(*GOOD[:3], conversation(role="user"), *GOOD[3:])
    assert checked(home, rows, limits={"rejected": 0.2}).status == "queued"


def test_a_file_that_was_deleted_meanwhile(home):
    uploads, jobs = Uploads(home), Jobs(home)
    order = Order(model="tiny", training_file="file-gone", name="claims", settings={"seed": 0})
    job = jobs.create("k", order, "ft:tiny:acme:claims", 9)
    worker.check(job, home)
    assert "file-gone is gone" in jobs.find(job.id).error.message and not uploads.list().files


def test_settings_are_called_as_a_request_calls_them():
    flags = worker._flags()
    assert (
        flags["--limits-rejected"] == "azubi.limits.rejected"
        and flags["--tail-layers"] == "azubi.tail_layers"
    )
