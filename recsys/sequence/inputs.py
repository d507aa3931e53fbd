"""What a sequence model is fitted on, and whether it fits together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.errors import DataError
from recsys.sequence.histories import Sequences
from recsys.sequence.model import SequenceModel


@dataclass(frozen=True)
class SequenceInputs:
    """The data of one fit; `fit_sequence` says what each part is."""

    sequences: Sequences
    text: np.ndarray | None
    n_items: int
    browsing_text: np.ndarray | None = None
    validation: tuple[Sequences, np.ndarray] | None = None
    warm_start: SequenceModel | None = None

    @property
    def text_dim(self) -> int:
        """0 where there is no text at all."""
        known = next((array for array in (self.text, self.browsing_text) if array is not None), None)
        return 0 if known is None else known.shape[1]

    def check(self) -> None:
        """Raises DataError where arrays do not fit together."""
        n_texts = 0 if self.browsing_text is None else len(self.browsing_text)
        self.sequences.check(self.n_items, n_texts)
        if self.validation is not None:
            _check_validation(*self.validation, self.n_items, n_texts)
        text, browsing_text = self.text, self.browsing_text
        if text is not None and len(text) != self.n_items:
            raise DataError(f"sequence model: {len(text)} text vectors for {self.n_items} items; give one an item")
        if text is not None and browsing_text is not None and text.shape[1] != browsing_text.shape[1]:
            raise DataError(
                f"sequence model: items' texts have {text.shape[1]} dimensions, browsing texts "
                f"{browsing_text.shape[1]}; whiten both alike"
            )
        if self.warm_start is not None and len(self.warm_start.item_vectors) != self.n_items:
            raise DataError(
                f"sequence model: the previous model has {len(self.warm_start.item_vectors)} items, not "
                f"{self.n_items}; renumber it"
            )

    def arrays(self) -> list[np.ndarray]:
        """All arrays that a run depends on, None as an empty one so that they cannot change places."""
        previous = None if self.warm_start is None else self.warm_start.item_vectors
        arrays = [np.empty(0) if array is None else array for array in (self.text, self.browsing_text, previous)]
        for histories in [self.sequences, *([] if self.validation is None else [self.validation[0]])]:
            arrays += [histories.indptr, histories.item_rows, histories.event_types, histories.timestamps]
            arrays += [histories.text_rows]
        return arrays + ([] if self.validation is None else [self.validation[1]])


def _check_validation(histories: Sequences, targets: np.ndarray, n_items: int, n_texts: int) -> None:
    histories.check(n_items, n_texts)
    if len(histories) != len(targets):
        raise DataError(
            f"sequence model: {len(histories)} validation histories, but {len(targets)} targets; give one target a "
            "history"
        )
    wrong = targets[(targets < -1) | (targets >= n_items)]
    if len(wrong):
        raise DataError(
            f"sequence model: {len(wrong)} validation targets, for example {wrong[0]}, are none of {n_items} items; "
            "use -1 where there is no target"
        )
