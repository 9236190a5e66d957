from azubi.evaluation.comparison import Comparison, compare_pick
from azubi.evaluation.mistakes import confusions


def made(prompt: str, base_right: bool, specialist_right: bool, truth: str = "a") -> Comparison:
    return Comparison(
        prompt=prompt,
        base="",
        specialist="",
        truth=truth,
        base_right=base_right,
        specialist_right=specialist_right,
    )


def prompts(*comparisons: Comparison) -> list[str]:
    return [c.prompt for c in compare_pick(comparisons)]


def test_two_gains_of_different_kind_and_one_mistake() -> None:
    picked = prompts(
        made("both", True, True),
        made("mistake", False, False),
        made("gain a", False, True, "a"),
        made("second gain a", False, True, "a"),
        made("gain b", False, True, "b"),
    )
    assert picked == ["gain a", "gain b", "mistake"]


def test_a_mistake_that_the_base_does_not_make_is_shown_too() -> None:
    assert prompts(made("worse", True, False), made("gain", False, True)) == ["gain", "worse"]


def test_without_mistakes_three_gains_then_what_both_can() -> None:
    assert prompts(made("both", True, True), made("gain", False, True)) == ["gain", "both"]
    assert prompts(*(made(f"gain {i}", False, True) for i in range(5))) == ["gain 0", "gain 1", "gain 2"]


def test_nothing_but_mistakes() -> None:
    picked = prompts(*(made(f"{i}", False, False) for i in range(5)))
    assert sorted(picked) == ["0", "1", "2"]
    assert compare_pick([]) == ()


def test_confusions_are_counted_and_ranked() -> None:
    truths = ["a", "a", "a", "b", "b"]
    result = confusions(["b", "b ", "a", "c", "b"], truths)
    assert [(c.truth, c.answer, c.count, c.of) for c in result] == [("a", "b", 2, 3), ("b", "c", 1, 2)]
    assert len(confusions(["b", "b", "a", "c", "b"], truths, most=1)) == 1
