"""How a specialist scores questions that are its job, and questions that are not.

Knows questions and the scope; nothing of how scores are judged (`evaluation.detection`).
"""

from collections.abc import Iterator, Mapping, Sequence

from azubi.data.example import Turn
from azubi.engine.inference.answering import Answering, Question
from azubi.engine.inference.scope import Scope
from azubi.evaluation.audit.probe import Item
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent

IN = "test"
"""Kind of the questions that are the specialist's job."""


def out_of_scope(
    answering: Answering,
    scope: Scope,
    inside: Sequence[Question],
    others: Mapping[str, Sequence[Question]],
    tell: Tell = silent,
) -> Iterator[Prediction]:
    """Part scope: held-out questions of the job, and `others` by where they are from.

    `answering` is the specialist's. Each question is answered once, since the tail's confidence is part of
    the score.
    """
    groups: list[tuple[str, str, Sequence[Question]]] = [("in", IN, inside)]
    groups += [("out", kind, questions) for kind, questions in others.items()]
    total, before = sum(len(questions) for _, _, questions in groups), 0
    for truth, kind, questions in groups:
        for done, (number, answer) in enumerate(answering(questions), start=1):
            assert answer.vector is not None, "a specialist's answers have it"
            tell(before + done, total)
            score = scope.score(answer.vector, answer.evidence)
            yield Prediction(
                part="scope",
                who="specialist",
                number=before + number,
                kind=kind,
                truth=truth,
                answer="in" if score >= scope.limit else "out",
                right=(score >= scope.limit) == (truth == "in"),
                score=score,
                confidence=answer.confidence,
            )
        before += len(questions)


def as_questions(items: Sequence[Item]) -> list[Question]:
    """The probe's items as questions."""
    return [(Turn("user", item.prompt),) for item in items]
