"""One way to train: what a search may choose. Knows recipes; nothing of how it is tried."""

from dataclasses import dataclass

from azubi.settings import Recipe


@dataclass(frozen=True)
class Setting:
    """A choice of everything that is searched."""

    base: str
    instruction: str
    """Name of the prime's variant; empty for a base that reads none."""
    tail_layers: int
    rank: int
    learning_rate: float
    epochs: int

    @property
    def words(self) -> str:
        """In a few words, for a person who waits."""
        layers = "1 layer" if self.tail_layers == 1 else f"{self.tail_layers} layers"
        depth = f"last {layers}" if self.tail_layers else "head alone"
        rank = f", rank {self.rank}" if self.rank else ""
        return f"{self.base}, {depth}{rank}, rate {self.learning_rate:.2g}"

    def applied(self, recipe: Recipe, prime: str | None) -> Recipe:
        """The recipe that trains with this setting and searches no more; `prime` is the variant's text."""
        return recipe.model_copy(
            update={
                "base": self.base,
                "tail_layers": self.tail_layers,
                "rank": self.rank,
                "learning_rate": self.learning_rate,
                "epochs": self.epochs,
                "instruction": recipe.instruction if prime is None else prime,
                "budget": None,
            }
        )
