"""How each token of an answer is chosen: the likeliest one, or one that is drawn, among those that may come.

Knows scores and constraints; nothing of models or texts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from azubi.engine.inference.constraints import Constraint, RecordGuard
from azubi.engine.inference.labels import Completion, Tokens, Vector

_FEW = 512
"""So many of the likeliest tokens nearly always have the wanted share of the probability together."""


class Sampler:
    """Draws tokens with dice of its own, so that what else is written changes nothing."""

    def __init__(self, temperature: float, top_p: float = 1.0, seed: int | None = None) -> None:
        """`temperature` is above 0; tokens come from the likeliest that have a share `top_p` together
        (Holtzman et al., arXiv 1904.09751); without a `seed` each sampler draws others."""
        self._temperature, self._top_p = temperature, top_p
        self._dice = torch.Generator(device="cpu")
        if seed is None:
            self._dice.seed()
        else:
            self._dice.manual_seed(seed)

    def draw(self, scores: torch.Tensor) -> int:
        """A place in `scores` [tokens], which may be minus infinity."""
        chances = (scores.cpu().double() / self._temperature).softmax(0)
        if self._top_p >= 1:
            return self._drawn(chances)
        for few in (min(_FEW, len(chances)), len(chances)):
            likeliest, tokens = chances.topk(few)
            before = likeliest.cumsum(0) - likeliest
            if few == len(chances) or float(before[-1]) >= self._top_p:
                break
        return int(tokens[self._drawn(likeliest * (before < self._top_p))])

    def _drawn(self, chances: torch.Tensor) -> int:
        upto = chances.cumsum(0)
        point = torch.rand((), generator=self._dice, dtype=torch.float64, device="cpu") * upto[-1]
        return min(int(torch.searchsorted(upto, point, right=True)), len(chances) - 1)


@dataclass(frozen=True)
class TokenChance:
    """How likely a token was, and which others might have come."""

    token: int
    log_probability: float
    alternatives: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities, itself included if it is one of them."""


@dataclass(eq=False)
class PartialAnswer:
    """One answer in the making."""

    longest: int
    """Most tokens."""
    end: int
    """The token that ends it."""
    constraint: Constraint | None = None
    sampler: Sampler | None = None
    """None takes the likeliest."""
    alternatives: int | None = None
    """How many other tokens `chances` have; None: there are no `chances`."""
    tokens: list[int] = field(default_factory=list)
    chances: list[TokenChance] = field(default_factory=list)
    """Of each of `tokens`."""
    log_probability: float = 0.0
    done: bool = False
    """Whether the model ended it."""
    dropped: bool = False
    """Whether the rest is not wanted."""
    vector: Vector | None = None
    """Of the prompt."""

    @property
    def over(self) -> bool:
        """Whether nothing more is written."""
        return self.done or self.dropped or len(self.tokens) >= self.longest

    def choose(self, scores: torch.Tensor, token: int, gained: float) -> None:
        """Take one of the allowed tokens by `scores` [vocabulary].

        `token` is the likeliest, if any may come, and `gained` its log-probability.
        """
        if self.sampler is not None:
            token = self.sampler.draw(scores)
            gained = float(scores[token] - scores.logsumexp(0))
        rules = self.constraint
        guard = rules if isinstance(rules, RecordGuard) else None
        allowed = None
        if rules is not None and (guard is None or not guard.admits(token)):
            allowed = rules.allowed()
        if allowed is not None:
            among = scores[torch.as_tensor(allowed)]
            best = int(among.argmax()) if self.sampler is None else self.sampler.draw(among)
            whole = among if guard is None else scores
            token, gained = int(allowed[best]), float(among[best] - whole.logsumexp(0))
        self.log_probability += gained
        if token == self.end:
            self.done = True
            return
        self.tokens.append(token)
        if self.alternatives is not None:
            self.chances.append(_chance(scores, token, self.alternatives))
        if self.constraint is not None:
            self.constraint.take(token)
            rest = self.constraint.settled()
            if rest is not None:
                self.tokens.extend(rest)
                self.done = True

    def draft(self) -> Tokens:
        """Tokens that are expected next, none of them the end."""
        most = self.longest - len(self.tokens)
        forced = self.constraint.forced()[:most] if self.constraint else ()
        return forced[: forced.index(self.end)] if self.end in forced else forced

    def choose_along(self, draft: Tokens, scores: torch.Tensor) -> int:
        """Choose by `scores` [1 + draft, vocabulary] while they agree with `draft`; returns how many."""
        best, gained = likeliest(scores)
        for place, token in enumerate(draft):
            self.choose(scores[place], best[place], gained[place])
            if self.done or self.tokens[-1] != token:
                return place
        return len(draft)

    def completion(self) -> Completion:
        """What was written."""
        ending = self.constraint.ending() if self.constraint and not self.done else ()
        confidence = math.exp(self.log_probability)
        return Completion((*self.tokens, *ending), confidence, self.done, self.vector)


def likeliest(scores: torch.Tensor) -> tuple[list[int], list[float]]:
    """The likeliest token of each row of `scores` [batch, vocabulary], and its log-probability."""
    highest, best = scores.max(1)
    return best.tolist(), (highest - scores.logsumexp(1)).tolist()


def _chance(scores: torch.Tensor, token: int, alternatives: int) -> TokenChance:
    shares = scores.log_softmax(0)
    values, tokens = shares.topk(alternatives)
    others: Sequence[tuple[int, float]] = list(zip(tokens.tolist(), values.tolist(), strict=True))
    return TokenChance(token, float(shares[token]), tuple(others))
