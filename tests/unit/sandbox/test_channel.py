"""The child's end of the channel, over real pipes."""

from __future__ import annotations

import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.sandbox.channel import Channel

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=5))
def test_what_is_sent_is_received(messages: list[dict[str, object]]) -> None:
    read_fd, write_fd = os.pipe()
    channel = Channel(read_fd, write_fd)
    try:
        for message in messages:
            channel.send(message)
            assert channel.receive() == message
    finally:
        os.close(write_fd)
    assert channel.receive() is None


def test_a_message_larger_than_the_pipe_is_sent_whole() -> None:
    read_fd, write_fd = os.pipe()
    channel = Channel(read_fd, write_fd)
    sender = threading.Thread(target=channel.send, args=({"text": "x" * (1 << 20)},))
    sender.start()
    received = channel.receive()
    sender.join()
    os.close(write_fd)
    assert received is not None
    assert len(received["text"]) == 1 << 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_have_is_refused_and_nothing_is_sent(value: float) -> None:
    read_fd, write_fd = os.pipe()
    channel = Channel(read_fd, write_fd)
    with pytest.raises(ValueError, match="JSON"):
        channel.send({"value": value})
    channel.send({"next": 1})
    os.close(write_fd)
    assert channel.receive() == json.loads('{"next": 1}')


def test_a_parent_that_is_gone_is_told() -> None:
    read_fd, write_fd = os.pipe()
    own_read, own_write = os.pipe()
    channel = Channel(own_read, write_fd)
    os.close(read_fd)
    with pytest.raises(BrokenPipeError):
        channel.send({"x": 1})
    os.close(own_write)
    os.close(write_fd)
    assert channel.receive() is None
