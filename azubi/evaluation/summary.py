"""A training, a search or a comparison summed up in sentences, for the reports and the terminal.

Knows figures and languages; no HTML and no terminal. The sentences of a proof are in `proof_summary`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from azubi.events.figures import Choice, Epoch, HeadScore, Score, Trial
from azubi.locale.locale import Locale

if TYPE_CHECKING:
    from azubi.evaluation.comparison import Versus
    from azubi.evaluation.statistics import Difference


def headline(locale: Locale, name: str, specialist: Sequence[Score], base: Sequence[Score] = ()) -> str:
    """The outcome of a training in one sentence, from the main metric of both."""
    main = specialist[0]
    metric = main.name if main.name in ("record_exact", "chrf") else "accuracy"
    return locale.plain(
        f"headline.{metric}",
        examples=locale.plural("on_examples", main.n),
        unseen=locale.plain("headline.unseen_by_both" if base else "headline.unseen"),
        name=name,
        share=locale.percent(main.value, main.n),
        span=locale.span(main.low, main.high, main.n),
        base=_base_score(locale, base[0]) if base else "",
    )


def _base_score(locale: Locale, score: Score) -> str:
    span = locale.span(score.low, score.high, score.n)
    return locale.plain("headline.base", share=locale.percent(score.value, score.n), span=span)


def difference(locale: Locale, difference: "Difference") -> str:
    """How much better training made it, and whether that could be chance."""
    value, low, high = difference.value, difference.low, difference.high
    if not difference.certain:
        return locale.plain(
            "difference.unsure",
            examples=locale.plural("on_examples", difference.n),
            points=locale.points(value),
            span=locale.points_span(low, high),
        )
    low, high = sorted((abs(low), abs(high)))
    return locale.plain(
        "difference.better" if value > 0 else "difference.worse",
        points=locale.points(abs(value), signed=False),
        span=locale.points_span(low, high, signed=False),
    )


def trained_weights(
    locale: Locale,
    tail_layers: int | Literal["all"],
    layers: int,
    rank: int,
    prompt_layers: int | None = None,
) -> str:
    """Which weights were trained, and in how many layers they act on the prompt if not in all."""
    if tail_layers == 0:
        return locale.plain("weights.head")
    if tail_layers == "all" or tail_layers >= layers:
        where = locale.plain("weights.all", layers=layers)
    else:
        where = locale.plural("weights.last", tail_layers, layers=layers)
    trained = locale.plain("weights.lora" if rank else "weights.full", where=where, rank=rank)
    if prompt_layers is None or prompt_layers >= (layers if tail_layers == "all" else tail_layers):
        return trained
    return f"{trained}; {prompt_reading(locale, prompt_layers)}"


def prompt_reading(locale: Locale, prompt_layers: int) -> str:
    """That fewer layers than are trained act on the prompt."""
    if prompt_layers == 0:
        return locale.plain("weights.prompt.none")
    return locale.plural("weights.prompt", prompt_layers)


def setting(locale: Locale, trial: Trial) -> str:
    """What a trial of a search tried: minilm, last 2 layers, rank 16, rate 0.0005, 10 epochs."""
    layers = locale.plural("n.layers", trial.tail_layers)
    parts = [trial.base, locale.plain("setting.last" if trial.tail_layers else "setting.head", layers=layers)]
    if trial.prompt_layers != trial.tail_layers:
        parts.append(locale.plain("setting.prompt", n=locale.count(trial.prompt_layers)))
    if trial.rank:
        parts.append(locale.plain("setting.rank", rank=trial.rank))
    parts.append(locale.plain("setting.rate", rate=locale.significant(trial.learning_rate, 2)))
    parts.append(locale.plural("n.epochs", trial.epochs))
    if trial.instruction:
        parts.append(locale.plain("setting.instruction", name=trial.instruction))
    return ", ".join(parts)


def search(locale: Locale, trials: Sequence[Trial], choice: Choice) -> str:
    """What a search tried and chose."""
    tried = [trial for trial in trials if trial.score is not None]
    best, chosen = choice.best, choice.chosen
    outcome = locale.plain(
        "trials.tried",
        n=locale.count(len(tried)),
        done=locale.count(sum(trial.state == "done" for trial in tried)),
        best=best.number,
        score=locale.percent(best.score or 0.0),
        error=locale.percent(best.error),
    )
    if best == chosen:
        return f"{outcome} {locale.plain('trials.best')}"
    reason = locale.plain("trials.cheaper", chosen=chosen.number, score=locale.percent(chosen.score or 0.0))
    return f"{outcome} {reason}"


def training(locale: Locale, epochs: Sequence[Epoch], simple_accuracy: float | None = None) -> str:
    """How the loss went, and which epoch was kept.

    `simple_accuracy` is the share of validation answers that were right before training, where that counts.
    """
    parts = [
        locale.plain(
            "training.summary",
            epochs=locale.plural("n.epochs", len(epochs)),
            first=locale.significant(epochs[0].loss),
            last=locale.significant(epochs[-1].loss),
        )
    ]
    if (kept := kept_epoch(epochs)) is not None:
        loss, right = locale.significant(kept.validation_loss), locale.percent(kept.validation_accuracy)
        parts.append(locale.plain("training.kept_epoch", kept=kept.epoch, loss=loss, right=right))
    if simple_accuracy is not None:
        key = "training.before" if kept is not None else "training.start_kept"
        parts.append(locale.plain(key, right=locale.percent(simple_accuracy)))
    return " ".join(parts)


def heads(locale: Locale, scores: Sequence[HeadScore]) -> str:
    """How good logistic regressions are without training, by cross-validation; empty if none was tried."""
    if not scores:
        return ""
    parts = [
        locale.plain(
            f"heads.{head.kind}",
            right=locale.percent(head.accuracy),
            error=locale.number(100 * head.error, 1),
        )
        for head in scores
    ]
    return locale.plain("heads.summary", n=locale.count(scores[0].examples), parts=", ".join(parts))


def kept_epoch(epochs: Sequence[Epoch]) -> Epoch | None:
    """The epoch whose weights were kept: the last that was the best so far. None if none beat the start."""
    return next((epoch for epoch in reversed(epochs) if epoch.best), None)


def comparison(locale: Locale, compared: "Versus") -> str:
    """The outcome of a comparison in a sentence, and how many questions one could not read in another."""
    gain = compared.paired.difference
    sentences = [
        locale.plain(
            f"versus.{compared.paired.says}",
            a=compared.a,
            b=compared.b,
            n=locale.count(gain.n),
            difference=locale.points(gain.value),
            span=locale.points_span(gain.low, gain.high),
        )
    ]
    unanswered = {compared.a: compared.a_unanswered, compared.b: compared.b_unanswered}
    for name, questions in unanswered.items():
        if questions:
            of = locale.count(gain.n)
            sentences.append(locale.plain("versus.unanswered", name=name, n=locale.count(questions), of=of))
    return " ".join(sentences)
