"""How a specialist scores questions that are its job, and questions that are not.

How the scores are judged is in `evaluation.detection`.
"""

from collections.abc import Mapping, Sequence

from azubi.engine.inference.answering import Answer, Answering, Question
from azubi.engine.inference.scope import Scope
from azubi.evaluation.prediction import Prediction
from azubi.events.work import Step, Work


def scope_row(
    scope: Scope, answer: Answer, number: int, *, kind: str, in_scope: bool, id: str = ""
) -> Prediction:
    """Part scope: the score of one question, from the specialist's answer to it."""
    assert answer.vector is not None, "a specialist's answers have it"
    score = scope.score(answer.vector, answer.evidence)
    return Prediction(
        part="scope",
        who="specialist",
        number=number,
        id=id,
        kind=kind,
        truth="in" if in_scope else "out",
        answer="in" if score >= scope.limit else "out",
        right=(score >= scope.limit) == in_scope,
        score=score,
        confidence=answer.confidence,
    )


def out_of_scope(
    answering: Answering, scope: Scope, questions: Mapping[str, Sequence[Question]], first: int = 0
) -> Work[list[Prediction]]:
    """Part scope: questions that are not the job, by where they are from; numbered from `first` on.

    `answering` is the specialist's. It answers each question, since its confidence is part of the score.
    """
    total, rows = sum(map(len, questions.values())), list[Prediction]()
    for kind, asked in questions.items():
        before = first + len(rows)
        for number, answer in answering(asked):
            rows.append(scope_row(scope, answer, before + number, kind=kind, in_scope=False))
            yield Step(len(rows), total)
    return rows
