"""Long work yields how far it is and returns its result, alone or as a part of more."""

from azubi.events.events import Step, finish, noted, part_of, translate


def counting(total):
    for done in range(1, total + 1):
        yield Step(done, total)
    return total


def watched(work):
    steps = []
    return finish(translate(work, steps.append)), steps


def test_the_result_comes_with_or_without_an_observer():
    assert finish(counting(3)) == 3
    assert watched(counting(3)) == (3, [Step(1, 3), Step(2, 3), Step(3, 3)])


def test_a_part_counts_in_thousandths_of_the_whole():
    assert watched(part_of(counting(2), 0.5, 1.0)) == (2, [Step(750, 1000), Step(1000, 1000)])


def test_a_note_is_put_on_each_step():
    assert watched(noted(counting(1), "counts")) == (1, [Step(1, 1, "counts")])


def test_work_that_is_given_up_is_closed():
    closed = []

    def careful():
        try:
            yield from counting(9)
        finally:
            closed.append(True)

    work = noted(careful(), "counts")
    next(work)
    work.close()
    assert closed
