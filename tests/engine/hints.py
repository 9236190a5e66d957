"""A constraint that only foresees."""


class Hints:
    """Foresees `answer`, three tokens at a time, with an error in every so many; forbids nothing."""

    def __init__(self, answer, errors=0):
        wrong = [number for number in range(len(answer)) if errors and number % errors == errors - 1]
        self.hints = [(token + 1) % 30 if number in wrong else token for number, token in enumerate(answer)]
        self.taken = 0

    def allowed(self):
        return None

    def take(self, token):
        self.taken += 1

    def settled(self):
        return None

    def forced(self):
        return tuple(self.hints[self.taken : self.taken + 3])

    def ending(self):
        return ()
