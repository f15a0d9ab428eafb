"""What of a piece of work each parameter of a handler gets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Optional

import pytest

from agentkit import Agent, Call, Context, Failure, current, errors
from agentkit._handlers import Handler, Handlers, matches


@dataclass
class Order:
    id: str
    amount: float


class FakeWork:
    cancelled = False


def called(function: Any, payload: Any, kind: str = "task") -> Any:
    call = Call(kind, "test", payload)
    positional, named = Handler(function).arguments(call, Context(FakeWork(), call))  # type: ignore[arg-type]
    return function(*positional, **named)


def test_parameters_go_by_their_names() -> None:
    assert called(lambda a, b=2: (a, b), {"a": 1}) == (1, 2)
    assert called(lambda a, b=2: (a, b), {"a": 1, "b": 3, "c": 4}) == (1, 3)
    assert called(lambda a, **rest: (a, rest), {"a": 1, "c": 4}) == (1, {"c": 4})
    assert called(lambda: "nothing", {"a": 1}) == "nothing"


def test_the_whole_the_context_and_the_call_are_there_for_the_asking() -> None:
    assert called(lambda payload: payload, {"a": 1}) == {"a": 1}
    assert called(lambda payload: payload, {"payload": 7}) == 7, "a parameter of that name comes first"
    assert called(lambda ctx: ctx.call.name, {}) == "test"
    assert called(lambda call: call.kind, {}) == "task"

    def typed(context: Context, work: Call, a: int) -> Any:
        return (context.call is work, a)

    assert called(typed, {"a": 1}) == (True, 1)


def test_a_payload_that_is_no_object_goes_to_the_only_parameter() -> None:
    assert called(lambda text: text, "hello", "publication") == "hello"
    with pytest.raises(Failure, match="lacks 'text'"):
        called(lambda text: text, {"other": 1})


def test_types_are_made_by_the_annotations() -> None:
    def pay(order: Order, note: Optional[str] = None) -> Order:
        return order

    assert called(pay, {"order": {"id": "a", "amount": 1}}) == Order("a", 1.0)
    with pytest.raises(Failure, match="'order' of the task 'test' does not fit") as told:
        called(pay, {"order": {"id": "a", "sum": 1}})
    assert told.value.code == "invalid-payload"


def test_what_lacks_is_named_with_what_is_there() -> None:
    with pytest.raises(Failure, match=r"the task 'test' lacks 'a', 'b'; it has 'c'") as told:
        called(lambda a, b: None, {"c": 1})
    assert told.value.code == "invalid-payload"


def test_work_finds_its_handler() -> None:
    handlers = Handlers()
    handlers.add("task", "a", lambda: "a")
    handlers.add("task", "*", lambda: "any")
    handlers.add("publication", "orders.*", lambda: "orders")

    def of(kind: str, name: str) -> Any:
        found = handlers.of(Call(kind, name, {}))
        return None if found is None else found.function()

    assert (of("task", "a"), of("task", "b"), of("message", "a")) == ("a", "any", None)
    assert (of("publication", "orders.eu"), of("publication", "orders.eu.1")) == ("orders", None)
    with pytest.raises(ValueError, match="two handlers of the task 'a'"):
        handlers.add("task", "a", lambda: None)


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [("a.b", "a.b", True), ("a.*", "a.b", True), ("a.*", "a", False), ("a.>", "a.b.c", True), ("a.>", "a", False), ("*.b", "a.c", False)],
)
def test_subjects_match_as_on_the_server(pattern: str, subject: str, fits: bool) -> None:
    assert matches(pattern, subject) is fits


def test_an_agent_is_called_without_a_server() -> None:
    agent = Agent("shop")

    @agent.task("pay")
    def pay(order: Order, ctx: Context) -> Order:
        ctx.progress(50)
        ctx.log("paying", order=order.id)
        assert current() is ctx and not ctx.cancelled
        return Order(order.id, order.amount * ctx.call.attempt)

    @agent.task("later")
    async def later(n: int) -> dict[str, int]:
        await asyncio.sleep(0)
        if n < 0:
            raise Failure("below zero", code="negative")
        return {"n": n}

    @agent.message("note")
    def note(text: str) -> str:
        return text

    assert agent.call("pay", {"order": Order("a", 2)}, attempt=2) == {"id": "a", "amount": 4.0}
    assert agent.call("later", {"n": 1}) == {"n": 1}
    assert agent.call("note", {"text": "hello"}, kind="message") == "hello"
    with pytest.raises(Failure, match="below zero") as told:
        agent.call("later", {"n": -1})
    assert told.value.code == "negative"
    with pytest.raises(Failure, match="lacks 'order'"):
        agent.call("pay")
    assert current() is None

    async def inside() -> None:
        assert await agent.call_async("later", {"n": 2}) == {"n": 2}
        with pytest.raises(errors.ConfigurationError, match="call_async"):
            agent.call("later", {"n": 1})

    asyncio.run(inside())


def test_what_has_no_handler_is_told_with_what_there_is() -> None:
    agent = Agent("reader")
    agent.task("read")(lambda: None)
    agent.task("count")(lambda: None)
    with pytest.raises(Failure, match="no handler for the task 'total'; this agent has: 'count', 'read'; .*`taskId`") as told:
        agent.call("total")
    assert told.value.code == "no-handler"
    with pytest.raises(Failure, match="no handler for the message 'x'; this agent has: none; add a handler 'x' or '\\*'"):
        agent.call("x", kind="message")
