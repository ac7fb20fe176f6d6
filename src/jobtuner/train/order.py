"""The order in which the rows of an epoch are seen: the same for the same seed and epoch, whatever ran before."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["EpochOrder", "deal"]

_STEPS_SORTED_TOGETHER = 50  # wide enough for steps of like length, narrow enough for steps at random


def deal(lengths: Sequence[int], hands: int) -> list[list[int]]:
    """Indices of the rows in `hands` shares of about as many tokens: the longest row first, to who has least so far."""
    shares: list[list[int]] = [[] for _ in range(hands)]
    held = [0] * hands
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        poorest = held.index(min(held))
        shares[poorest].append(index)
        held[poorest] += lengths[index]
    return [sorted(share) for share in shares]


@dataclass
class EpochOrder:
    """A sampler: row indices of one epoch. Where a step's rows are consecutive, they are of like length if `group`.

    Args:
        lengths: tokens of each row, those of other sets behind the own.
        labels: label of each own row.
        step_rows: rows an optimizer step.
        group: sort by length within stretches of some fifty steps, and put the steps of a stretch in random order.
        balance: 0: every row once. Above: as many rows, drawn with replacement; a label's probability goes with its
            count to the power of 1 - balance.
        seed: with the epoch decides the order.
        others: (rows, rows an epoch) of each other set. Each epoch goes on in its shuffled rows where the one before
            stopped, and begins again, shuffled anew, when all have come.
    """

    lengths: Sequence[int]
    labels: Sequence[Hashable]
    step_rows: int
    group: bool
    balance: float
    seed: int
    others: Sequence[tuple[int, int]] = ()
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the data loader calls it before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Rows an epoch."""
        return len(self.labels) + sum(drawn for _, drawn in self.others)

    def __iter__(self) -> Iterator[int]:
        """Row indices in order."""
        import torch

        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)  # seeds side by side stay apart
        if self.balance:
            counts = Counter(self.labels)
            weights = torch.tensor([counts[label] ** -self.balance for label in self.labels], dtype=torch.float64)
            drawn = torch.multinomial(weights, len(self.labels), replacement=True, generator=generator).tolist()
        else:
            drawn = torch.randperm(len(self.labels), generator=generator).tolist()
        if self.others:
            drawn += self._of_others()
            drawn = [drawn[index] for index in torch.randperm(len(drawn), generator=generator).tolist()]
        if not self.group:
            yield from drawn
            return
        stretch = _STEPS_SORTED_TOGETHER * self.step_rows
        for start in range(0, len(drawn), stretch):
            by_length = sorted(drawn[start : start + stretch], key=lambda index: -self.lengths[index])
            steps = [by_length[at : at + self.step_rows] for at in range(0, len(by_length), self.step_rows)]
            # The unfilled step comes last: another place would shift the borders of all steps behind it.
            filled = len(steps) - (len(steps[-1]) < self.step_rows)
            order = torch.randperm(filled, generator=generator).tolist()
            for step in [*order, *range(filled, len(steps))]:
                yield from steps[step]

    def _of_others(self) -> list[int]:
        found: list[int] = []
        first = len(self.labels)
        for number, (rows, drawn) in enumerate(self.others):
            found += [first + index for index in self._stretch(number, rows, self.epoch * drawn, drawn)]
            first += rows
        return found

    def _stretch(self, number: int, rows: int, start: int, size: int) -> list[int]:
        """`size` indices from the place `start` of an endless line of shuffles of a set."""
        import torch

        found: list[int] = []
        while len(found) < size:
            turn, place = divmod(start + len(found), rows)
            digest = hashlib.sha256(f"{self.seed} {number} {turn}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
            shuffled = torch.randperm(rows, generator=generator).tolist()
            found += shuffled[place : place + size - len(found)]
        return found
