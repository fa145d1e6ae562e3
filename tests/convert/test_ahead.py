"""Reading ahead changes when a batch is made, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from recbole_fair.convert.build import one_ahead


def test_the_same_in_the_same_order() -> None:
    assert list(one_ahead(iter(range(1, 100)))) == list(range(1, 100))
    assert list(one_ahead(iter(()))) == []


def test_never_more_than_one_ahead() -> None:
    made = []

    def make() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            yield number

    for number in one_ahead(make()):
        assert len(made) <= number + 2


def test_it_is_made_beside_the_one_that_asks() -> None:
    """The second is made while the first is still in use: were it not, this would wait in vain."""
    begun = threading.Event()

    def make() -> Iterator[str]:
        yield "first"
        begun.set()
        yield "second"

    parts = one_ahead(make())
    assert next(parts) == "first"
    assert begun.wait(10)
    assert list(parts) == ["second"]


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise ValueError("bad line")

    parts = one_ahead(make())
    assert next(parts) == 1
    with pytest.raises(ValueError, match="bad line"):
        next(parts)


def test_no_thread_stays_when_the_writer_gives_up() -> None:
    before = threading.active_count()
    parts = one_ahead(iter(range(1, 100)))
    assert next(parts) == 1
    assert threading.active_count() == before + 1
    parts.close()
    assert threading.active_count() == before
