"""Ctrl-C and SIGTERM as a wish."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from burnish.engine.loop import StopSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_only_a_wish(number: int) -> None:
    with StopSignal() as stop:
        assert not stop.wanted
        os.kill(os.getpid(), number)
        assert stop.wanted


def test_the_second_ctrl_c_interrupts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_is_still_a_wish() -> None:
    """A machine that shuts down sends several; the state must be saved all the same."""
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wanted


def test_the_old_handlers_come_back_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), StopSignal():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_works_in_other_threads_without_handlers() -> None:
    """Python lets only the main thread set handlers; training elsewhere must run all the same."""
    seen: list[object] = []

    def work() -> None:
        with StopSignal() as stop:
            seen.append(stop.wanted)
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, before]
