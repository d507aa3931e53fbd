"""The fused sequence model: text and behaviour in one item space, and a transformer that reads histories into it."""

from recsys.sequence.histories import Sequences
from recsys.sequence.model import SequenceModel
from recsys.sequence.training import fit_sequence

__all__ = ["SequenceModel", "Sequences", "fit_sequence"]
