"""Shoppers' histories as flat arrays, and the padded batches that the transformer reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.errors import DataError
from recsys.tables import EVENT_TYPES

GAP_BUCKETS = 32
"""Bucket 0 is "no earlier event", bucket b a gap of 2^(b-1) - 1 to 2^b - 2 seconds; the last ends beyond 30 years."""


@dataclass(frozen=True)
class Sequences:
    """Histories in compressed rows: shopper r's entries are indptr[r]:indptr[r + 1], oldest first.

    item_rows: (n,) int32, -1 for a query or page text; text_rows: (n,) int32 rows of the browsing texts, -1 for
    items; event_types: (n,) int8 positions in `EVENT_TYPES`; timestamps: (n,) int64 microseconds.
    """

    indptr: np.ndarray
    item_rows: np.ndarray
    event_types: np.ndarray
    timestamps: np.ndarray
    text_rows: np.ndarray

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: np.ndarray) -> Sequences:
        """The histories of these rows, in their order."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        columns = (self.item_rows, self.event_types, self.timestamps, self.text_rows)
        return Sequences(indptr, *(column[entries] for column in columns))

    def check(self, n_items: int, n_texts: int) -> None:
        """Raises DataError where arrays do not fit together or an entry names an item or text that is not there."""
        n = int(self.indptr[-1])
        columns = (self.item_rows, self.event_types, self.timestamps, self.text_rows)
        if any(len(column) != n for column in columns):
            lengths = ", ".join(str(len(column)) for column in columns)
            raise DataError(f"sequences: indptr ends at {n}, but the columns hold {lengths} entries; make them equal")
        _check_range("item row", self.item_rows, -1, n_items)
        _check_range("text row", self.text_rows, -1, n_texts)
        _check_range("event type", self.event_types, 0, len(EVENT_TYPES))
        unnamed = np.flatnonzero((self.item_rows < 0) == (self.text_rows < 0))
        if len(unnamed):
            raise DataError(
                f"sequences: {len(unnamed)} entries, for example entry {unnamed[0]}, name not exactly one of item and "
                "text; set the other to -1"
            )

    @cached_property
    def gaps(self) -> np.ndarray:
        """(n,) int64 bucket of the time since the shopper's previous entry (`GAP_BUCKETS`)."""
        buckets = gap_buckets(self.timestamps)
        firsts = self.indptr[:-1][np.diff(self.indptr) > 0]
        buckets[firsts] = 0
        return buckets

    @cached_property
    def next_items(self) -> np.ndarray:
        """(n,) int64 the item that the shopper's history goes on with after each entry; -1 where there is none."""
        n = len(self.item_rows)
        ends = np.repeat(self.indptr[1:], np.diff(self.indptr))
        item_places = np.where(self.item_rows >= 0, np.arange(n), n)
        at_or_after = np.minimum.accumulate(item_places[::-1])[::-1]
        after = np.append(at_or_after[1:], n)[:n]
        return np.where(after < ends, np.append(self.item_rows, -1)[np.minimum(after, n)], -1).astype(np.int64)


def gap_buckets(timestamps: np.ndarray) -> np.ndarray:
    """(n,) int64 bucket of the time since the entry before, whosever it is. timestamps: (n,) int64 microseconds."""
    seconds = np.maximum(np.diff(timestamps, prepend=timestamps[:1]), 0) / 1e6
    return np.minimum(1 + np.floor(np.log2(1.0 + seconds)).astype(np.int64), GAP_BUCKETS - 1)


def _check_range(name: str, values: np.ndarray, low: int, stop: int) -> None:
    wrong = np.flatnonzero((values < low) | (values >= stop))
    if len(wrong):
        raise DataError(
            f"sequences: {len(wrong)} entries have no valid {name}, for example {values[wrong[0]]} at entry "
            f"{wrong[0]}; it must be in [{low}, {stop})"
        )


@dataclass(frozen=True)
class Batch:
    """b stretches of histories, padded on the right to l entries; every array is (b, l) int64.

    Padding has item row and text row -1; `targets` is -1 where there is nothing to predict. Causal attention never
    looks to the right, so padding needs no mask.
    """

    item_rows: np.ndarray
    text_rows: np.ndarray
    event_types: np.ndarray
    gaps: np.ndarray
    targets: np.ndarray


def padded(sequences: Sequences, starts: np.ndarray, lengths: np.ndarray) -> Batch:
    """The entries starts[i]:starts[i] + lengths[i] as row i, at least one column wide."""
    width = max(int(lengths.max(initial=0)), 1)
    entries = starts[:, None] + np.arange(width)
    inside = np.arange(width) < lengths[:, None]
    at = np.where(inside, entries, 0)

    def column(values: np.ndarray, padding: int) -> np.ndarray:
        return np.where(inside, values[at], padding).astype(np.int64)

    return Batch(
        item_rows=column(sequences.item_rows, -1),
        text_rows=column(sequences.text_rows, -1),
        event_types=column(sequences.event_types, 0),
        gaps=column(sequences.gaps, 0),
        targets=column(sequences.next_items, -1),
    )


def training_windows(sequences: Sequences, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """(starts, lengths) of stretches of at most `max_length` entries that cover every entry with a next item.

    A longer history is cut from its newest end backwards, so that the newest stretch is a full one.
    """
    predicting = np.concatenate([[0], np.cumsum(sequences.next_items >= 0)])
    starts = sequences.indptr[:-1]
    lengths = predicting[sequences.indptr[1:]] - predicting[starts]  # entries before the last item: a prefix
    n_windows = -(-lengths // max_length)
    rows = np.repeat(np.arange(len(sequences)), n_windows)
    back = np.arange(len(rows)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)  # 0 is the newest
    stops = lengths[rows] - back * max_length
    from_entry = np.maximum(stops - max_length, 0)
    return starts[rows] + from_entry, stops - from_entry


def epoch_windows(lengths: np.ndarray, max_events: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the windows that one epoch reads: all, or where they hold more than `max_events` entries, a random part.

    The part is drawn without replacement, ascends, and holds at most `max_events` entries (one window at least).
    Nothing is drawn from `rng` where all are read.
    """
    if lengths.sum() <= max_events:
        return np.arange(len(lengths))
    drawn = rng.choice(len(lengths), min(len(lengths), max_events), replace=False)  # a window has an entry at least
    n_read = np.searchsorted(np.cumsum(lengths[drawn]), max_events, side="right")
    return np.sort(drawn[: max(int(n_read), 1)])


def length_bucketed(lengths: np.ndarray, batch_events: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows in batches of nearly equal length and at most `batch_events` padded entries (at least one row each).

    Which equal lengths meet in a batch, and the order of the batches, are drawn from `rng`.
    """
    shuffled = rng.permutation(len(lengths))
    rows = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    batches = []
    stop = len(rows)
    while stop > 0:
        size = max(1, batch_events // max(int(lengths[rows[stop - 1]]), 1))
        batches.append(rows[max(stop - size, 0) : stop])
        stop -= size
    for position in rng.permutation(len(batches)):
        yield batches[position]
