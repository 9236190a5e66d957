"""Numbers, times, sizes and texts as a person reads them, in the language that holds.

Knows nothing of the terminal. What the report says too comes from `azubi.evaluation`; here its spaces become
breakable ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from azubi.data import strict_json
from azubi.evaluation import summary
from azubi.events import events as ev
from azubi.events.figures import HeadScore, Score, Trial, begun
from azubi.locale.current import current, translated

if TYPE_CHECKING:
    from azubi.registry.runs import PlanVsActual


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Take out what could steer a terminal: control characters other than line break and tab."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n")).expandtabs(4)


def shorten(text: str, limit: int) -> str:
    """Cut a text at a word's end, so that it has at most `limit` characters, the ellipsis included."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    cut_in_word = re.search(r"\s", text[limit - 2 : limit]) is None
    if cut_in_word and " " in head.strip():
        head = head.rsplit(None, 1)[0]
    return head.rstrip(" ,;:-") + "…"


def count(number: int) -> str:
    """Write a count with its thousands set apart."""
    return current().count(number)


def percent(value: float, n: int = 0) -> str:
    """Write a share: 87 %."""
    return _breakable(current().percent(value, n))


def interval(score: Score) -> str:
    """Write a score with its 95 % interval: 87 % (80–93 %)."""
    return _breakable(current().score(score))


def metric(name: str) -> str:
    """Name a metric for a person, fields below their record."""
    return ("  " if name.startswith(("field:", "level:")) else "") + clean(current().metric_title(name))


def setting(trial: Trial) -> str:
    """Write what a trial of a search tried."""
    return clean(summary.setting(current(), trial))


def headline(name: str, specialist: Sequence[Score], base: Sequence[Score]) -> str:
    """Say in one sentence what came out."""
    return _breakable(summary.headline(current(), name, specialist, base))


def heads_tried(scores: Sequence[HeadScore]) -> str:
    """Say in one sentence how good logistic regression is without training."""
    return _breakable(summary.heads(current(), scores))


def duration(seconds: float) -> str:
    """Write how long something took: 3 min 10 s."""
    return _breakable(current().duration(seconds))


def moment(when: datetime, *, time: bool = True) -> str:
    """Write a moment as it is here: 2026-11-22 14:05; without its `time`, 2026-11-22."""
    return current().moment(when, time)


def _breakable(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "")


def time_left(seconds: float | None) -> str:
    """Write how long the run will still take, no more exactly than it is known."""
    if seconds is None:
        return translated("time left: measuring")
    if seconds < 8:
        return translated("a few seconds left")
    if seconds < 95:
        return translated(f"about {max(10, round(seconds / 10) * 10)} s left")
    minutes = round(seconds / 60)
    if minutes < 90:
        return translated(f"about {minutes} min left")
    hours, quarter = divmod(round(seconds / 900), 4)
    return translated(f"about {hours} h {quarter * 15:02} min left")


def size(number: int) -> str:
    """Write a number of bytes in decimal units."""
    if number < 1000:
        return translated(f"{number} bytes")
    value, unit = number / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{current().number(value, 1)} {unit}" if value < 10 else f"{value:.0f} {unit}"


def speed(progress: ev.Progress) -> str:
    """Write how fast a stage goes: 5,120 tokens/s, 61 % of peak; empty where that is not known."""
    if progress.throughput is None:
        return ""
    tokens = translated(f"{count(round(progress.throughput))} tokens/s")
    # More than all of it: the peak was measured while other programs ran.
    if progress.peak is None or progress.peak > 1:
        return tokens
    return translated(f"{tokens}, {percent(progress.peak)} of peak")


def operations(number: float) -> str:
    """Write a number of floating-point operations: 3.2 × 10^15 operations."""
    if number < 1e6:
        return translated(f"{count(round(number))} operations")
    power = len(str(int(number))) - 1
    return translated(f"{current().number(number / 10**power, 1)} × 10^{power} operations")


def tiny_share(share: float) -> str:
    """Write a share that may be far below a percent: 12 %, one part in 800,000."""
    if share >= 0.001:
        return percent(share)
    return translated(f"one part in {count(round(1 / share))}" if share > 0 else "nothing")


def share_trained(trained: int, total: int) -> str:
    """Say how many of how many parameters were trained."""
    share = percent(trained / max(1, total))
    return translated(f"{count(trained)} of {count(total)} parameters ({share})")


def prompt_reading(tail_layers: int, prompt_layers: int | None) -> str:
    """Say in brackets that not all layers of the tail act on the prompt; nothing if they do."""
    if prompt_layers is None or prompt_layers == tail_layers:
        return ""
    return translated(
        f" ({prompt_layers} of them act on the prompt)" if prompt_layers else " (the base reads the prompt)"
    )


def as_json(value: object) -> str:
    """Write a value so that its kind can be seen."""
    return strict_json.write(value, default=str)


def plain_table(*headings: str) -> Table:
    """Make a table without frames; a heading that begins with > is aligned right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(
            translated(heading.lstrip(">")), justify="right" if heading.startswith(">") else "left"
        )
    return table


def scores_table(base: Sequence[Score], specialist: Sequence[Score]) -> Table:
    """Set base and specialist side by side, one metric per row, each with its interval."""
    table = plain_table("", ">base", ">specialist")
    old, new = ({score.name: score for score in scores} for scores in (base, specialist))
    for place, name in enumerate(dict.fromkeys([*new, *old])):
        cells = (_cell(old.get(name)), _cell(new.get(name)))
        table.add_row(Text(metric(name)), *cells, style="bold" if place == 0 else "")
    return table


def trials_table(trials: Sequence[Trial], chosen: int | None = None) -> Table:
    """List the trials of a search that were begun, one per row; the chosen one in bold."""
    table = plain_table(">no.", "setting", ">right", ">cost", ">took", "end")
    tried = begun(trials)
    if unbegun := len(trials) - len(tried):
        table.caption = translated(
            f"Drawn but not begun, since they would not have ended in time: {count(unbegun)}."
        )
        table.caption_justify = "left"
    for trial in tried:
        score = f"{percent(trial.score)} ± {percent(trial.error)}" if trial.score is not None else "–"
        end = translated(f"{trial.state}, chosen" if trial.number == chosen else trial.state)
        cells = (str(trial.number), setting(trial), score, duration(trial.cost), duration(trial.seconds), end)
        table.add_row(*map(Text, cells), style="bold" if trial.number == chosen else "")
    return table


def _cell(score: Score | None) -> Text:
    return Text(interval(score) if score else "–", no_wrap=True)


def plan_table(lines: "Sequence[PlanVsActual]") -> Table:
    """Set what was planned beside what it took, line figure per row."""
    table = plain_table("", ">planned", ">took", ">of plan")
    for line in lines:
        written = duration if line.unit == "seconds" else _bytes
        planned = written(line.planned) if line.planned is not None else "–"
        ratio = percent(line.ratio) if line.ratio is not None else ""
        name = ("  " if line.name == "one epoch" else "") + translated(line.name)
        table.add_row(
            Text(name), planned, written(line.took), ratio, style="bold" if line.name == "in all" else ""
        )
    return table


def _bytes(number: float) -> str:
    return size(round(number))


def facts(pairs: Mapping[str, str]) -> Iterator[str]:
    """Write names and values as lines that are never broken, so that paths can be copied."""
    named = {translated(name): value for name, value in pairs.items()}
    width = max(map(len, named)) + 2
    return (f"{name:<{width}}{value}" for name, value in named.items())
