"""The queue between threads: order, bounds, closing, cancelling."""

from __future__ import annotations

import threading

import pytest

from upframe.engine.channel import Cancelled, Channel


def test_everything_arrives_in_order_and_never_more_than_fits():
    channel: Channel[int] = Channel(3)
    ahead: list[int] = []
    sent = 0

    def write():
        nonlocal sent
        for number in range(200):
            channel.put(number)
            sent = number + 1
        channel.close()

    thread = threading.Thread(target=write)
    thread.start()
    got = []
    for number in channel:
        got.append(number)
        ahead.append(sent - len(got))
    thread.join()
    assert got == list(range(200))
    assert max(ahead) <= 4


def test_a_cancelled_reader_stops_a_waiting_writer():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    stopped = threading.Event()

    def write():
        try:
            channel.put(2)
        except Cancelled:
            stopped.set()

    thread = threading.Thread(target=write)
    thread.start()
    channel.cancel()
    thread.join(timeout=5)
    assert stopped.is_set()


def test_a_cancelled_writer_stops_the_reader():
    channel: Channel[int] = Channel(1)
    channel.cancel()
    with pytest.raises(Cancelled):
        next(iter(channel))
