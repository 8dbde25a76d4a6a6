"""Templates that run for hours or fill the memory are refused; others are rendered, and no limit stays."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

import pytest

from burnish.data.chat import template as template_module
from burnish.data.chat.template import ChatTemplate, budget, try_template
from burnish.data.rows.row import RowError
from burnish.errors import ModelError
from tests.snapshots import check_message

ASK = [{"role": "user", "content": "How?"}]
SLOW = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}"
LARGE = (
    "{{ 'a' * 4000000000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'a' | center(2000000000) }}",
    "{{ [messages] * 1000000000 }}",
    "{% set x = namespace(y='a' * 1000) %}{% for i in range(60) %}{% set x.y = x.y ~ x.y %}{% endfor %}{{ x.y }}",
)


def rendered(tokenizer: Any, template: str) -> str:
    tokenizer.chat_template = template
    return ChatTemplate(tokenizer).render(ASK, None, True)


@pytest.fixture(autouse=True)
def _as_before() -> Any:
    """Neither a limit nor a timer nor a handler stays."""
    before = resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGVTALRM)
    yield
    assert (resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_one_that_does_not_end_is_stopped(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_module, "SECONDS", 0.2)
    with pytest.raises(ModelError) as caught:
        rendered(tiny_tokenizer, SLOW)
    check_message(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
@pytest.mark.parametrize("template", LARGE)
def test_one_that_fills_memory_is_stopped(template: str, tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError) as caught:
        rendered(tiny_tokenizer, template)
    check_message(caught.value)


@pytest.mark.parametrize("template", ["{{ 10 ** 100000000 }}", "{% generation %}{{ 2**messages }}{% endgeneration %}"])
def test_a_power_is_refused_before_it_is_computed(template: str, tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError) as caught:
        rendered(tiny_tokenizer, template)
    check_message(caught.value)


@pytest.mark.parametrize("template", [SLOW, LARGE[0], "{{ 'a' * 3000000 }}", "{{ 10 ** 100000000 }}"])
def test_a_first_try_refuses_what_does_harm(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_module, "SECONDS", 0.2)
    with pytest.raises(ModelError, match="the chat template (did not finish|took|uses|wrote)"):
        try_template(template)


@pytest.mark.parametrize(
    "template", ["{{ 1 / 0 }}", "{{ raise_exception('no') }}", "{{ bos_token + eos_token }}", "{%"]
)
def test_a_first_try_leaves_other_faults_to_the_rows(template: str) -> None:
    try_template(template)


def test_others_are_rendered(tiny_tokenizer: Any) -> None:
    assert rendered(tiny_tokenizer, "**{{ messages[0].content }}** {{ 3 * 4 }}") == "**How?** 12"
    with pytest.raises(RowError):
        rendered(tiny_tokenizer, "{{ 1 / 0 }}")


def test_one_that_writes_far_more_than_it_is_given_is_stopped(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="for a conversation of") as caught:
        rendered(tiny_tokenizer, "{{ 'a' * 2000000 }}")
    check_message(caught.value)
    assert len(rendered(tiny_tokenizer, "{{ 'a' * 1000000 }}")) == 1_000_000


def test_a_long_conversation_may_be_written_more_than_once(tiny_tokenizer: Any) -> None:
    tiny_tokenizer.chat_template = "{{ messages[0].content * 4 }}"
    given = [{"role": "user", "content": "b" * 500_000}]
    assert len(ChatTemplate(tiny_tokenizer).render(given, None, True)) == 2_000_000


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "template", ["{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ messages[0].arguments | tojson }}"]
)
def test_one_that_goes_too_deep_rejects_the_conversation(template: str, tiny_tokenizer: Any) -> None:
    tiny_tokenizer.chat_template = template
    with pytest.raises(RowError, match="rejects the conversation"):
        ChatTemplate(tiny_tokenizer).render([{**ASK[0], "arguments": nested(5000)}], None, True)


def test_threads_share_the_limit() -> None:
    """Whoever ends last lifts it."""
    inside, leave = threading.Event(), threading.Event()
    free = resource.getrlimit(resource.RLIMIT_DATA)

    def other() -> None:
        with budget():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with budget():
        pass
    assert sys.platform != "linux" or resource.getrlimit(resource.RLIMIT_DATA) != free
    leave.set()
    thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_the_stack_may_grow_where_no_memory_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel kills a process whose stack cannot grow."""
    monkeypatch.setattr(template_module, "BYTES", 32 << 20)

    class Large(ctypes.Structure):
        _fields_ = (("content", ctypes.c_char * (3 << 19)),)

    large, on_the_stack, taken = Large(), ctypes.CDLL(None).getpid, list[mmap.mmap]()
    child = os.fork()
    if child == 0:
        with budget():
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE))
            del taken[:2]  # for the call itself
            on_the_stack(large)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_time_outside_of_it_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_module, "SECONDS", 0.05)
    with budget():
        pass
    ended = time.process_time() + 0.1
    while time.process_time() < ended:
        pass
