"""Pieces for threads: whole, in order, about equally long; and one core a thread."""

import threading
from collections.abc import Sequence

import pytest
import torch

from jobtuner.linear import threads
from jobtuner.linear.threads import in_threads


@pytest.mark.parametrize("cores", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 127, 128, 1000, 1025])
def test_pieces_are_whole_in_order_and_even(cores: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    pieces = in_threads(list, range(count), 500)
    assert [item for piece in pieces for item in piece] == list(range(count))
    lengths = [len(piece) for piece in pieces]
    assert max(lengths) <= 500 and max(lengths) - min(lengths) <= 1
    assert len(pieces) % min(cores, max(1, count // 64)) == 0  # nobody waits for the last piece


def test_each_thread_keeps_to_one_core_and_the_caller_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    before, meeting = torch.get_num_threads(), threading.Barrier(2, timeout=30)

    def work(piece: Sequence[int]) -> tuple[int, int]:
        meeting.wait()  # both at once, so by two threads
        return threading.get_ident(), torch.get_num_threads()

    found = in_threads(work, range(200), 500)
    assert len({thread for thread, _ in found}) == 2
    assert [count for _, count in found] == [1, 1]
    assert torch.get_num_threads() == before


def test_what_fails_in_a_thread_fails_for_the_caller() -> None:
    def work(piece: Sequence[int]) -> int:
        return 1 // piece[0]

    with pytest.raises(ZeroDivisionError):
        in_threads(work, range(200), 100)
