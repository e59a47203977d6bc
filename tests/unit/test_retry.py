"""The policies of retrying."""

import asyncio
import logging
import sqlite3

import pytest

from edge.core.errors import ConfigError
from edge.retry import LINK_DELAY_MAX_S, LINK_DELAY_MIN_S, link_retry, refusal_delay_s, store_retry


async def test_a_link_is_tried_again_whatever_goes_wrong(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(asyncio, "sleep", lambda s: _note(slept, s))
    tries = 0
    async for attempt in link_retry(1.0, lambda state: None):
        with attempt:
            tries += 1
            if tries < 40:
                raise [OSError("gone"), ValueError("a bug"), TimeoutError()][tries % 3]
    assert tries == 40
    assert all(LINK_DELAY_MIN_S <= s <= LINK_DELAY_MAX_S for s in slept)
    assert max(slept) > 10, "the pauses grow"
    assert len(set(slept)) > 30, "and are jittered"


async def test_a_configuration_error_is_final():
    async def try_it():
        async for attempt in link_retry(1.0, lambda state: None):
            with attempt:
                raise ConfigError("no such key")

    with pytest.raises(ConfigError):
        await try_it()


async def test_a_first_attempt_again_after_progress_waits_no_longer_than_the_base(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(asyncio, "sleep", lambda s: _note(slept, s))
    tries = 0
    async for attempt in link_retry(0.5, lambda state: None):
        with attempt:
            tries += 1
            attempt.retry_state.attempt_number = 1
            if tries < 30:
                raise OSError("gone")
    assert max(slept) <= 0.5


async def test_a_commit_is_tried_until_it_succeeds(monkeypatch, caplog):
    monkeypatch.setattr(asyncio, "sleep", lambda s: _note([], s))
    tries = 0
    with caplog.at_level(logging.ERROR):
        async for attempt in store_retry(logging.getLogger("edge.store")):
            with attempt:
                tries += 1
                if tries < 4:
                    raise sqlite3.OperationalError("disk full")
    assert tries == 4
    assert "disk full" in caplog.text


def test_pauses_after_refusals_double_up_to_the_longest():
    assert 0.25 <= refusal_delay_s(1, 0.5, 60) <= 0.5
    assert 2.0 <= refusal_delay_s(4, 0.5, 60) <= 4.0
    assert 30 <= refusal_delay_s(50, 0.5, 60) <= 60


async def _note(slept, seconds):
    slept.append(seconds)
