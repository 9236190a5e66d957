"""A base in memory, cut into trunk and tail, for one task.

    halves      what training and answering ask of a cut base, and cutting it
    decoder     a base that writes its answers
    encoder     a base whose pooled output is labelled
    first_half  what both have alike: a trunk behind its prime, and its activations
    loading     a base whole, in memory or read from disk layer by layer

Puts together what the rooms below know apart: how examples become lessons, where their
activations come from, which tail is trained, and how both halves answer. `recipe` trains through
here, `ask` answers through here. Knows nothing of data files, scores or folders of specialists.
"""

from azubi.engine.halves.decoder import DecoderHalves
from azubi.engine.halves.encoder import EncoderHalves
from azubi.engine.halves.first_half import room_for_activations
from azubi.engine.halves.halves import SplitModel, cut, longest_answer

__all__ = ["DecoderHalves", "EncoderHalves", "SplitModel", "cut", "longest_answer", "room_for_activations"]
