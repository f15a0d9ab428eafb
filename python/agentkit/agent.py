"""The runtime of an agent: `Agent`.

    from agentkit import Agent

    agent = Agent("shouter")

    @agent.task("shout")
    def shout(text: str) -> dict:
        return {"text": text.upper()}

    # Registers, and works until Ctrl-C.
    agent.run()

Handlers are plain functions, which run in threads, or async ones; at most `concurrency` of them at once. A plain function whose
work was cancelled counts until it ends; it does not keep the process from ending. Everything else is
done for them, in native threads that need no interpreter lock: registration, heartbeats, reconnection, reports (`active`,
progress, how it ended), answers to repeats, and cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import logging
import os
import signal
import sys
import threading
import traceback
from typing import Any, Callable, Mapping, Optional, Sequence, TypeVar, Union

from agentkit import _direct, _native
from agentkit._async.client import AsyncClient
from agentkit._handlers import Handler, Handlers
from agentkit._logging import OpsCoreHandler
from agentkit._threads import Threads
from agentkit._transport import _complete, dumps, loads
from agentkit.errors import AgentKitError, ConfigurationError
from agentkit.models import CapabilityBody
from agentkit.tools import Tool, ToolServer
from agentkit.work import Call, Cancelled, Context, Failure, _current

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger("agentkit.agent")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

POLL = 5.0
"""Seconds after which the thread that waits for events looks whether it is still wanted."""
TRACEBACK_MAX = 16_384
"""Characters of a traceback that are kept, from its end."""


class Agent:
    """An agent, with the handlers of its work.

    - `connect`: `"http"` listens on `listen` and is reached there, or under `reached_at`; `"websocket"` opens a connection
      to the server, for agents that cannot be reached, for commands and for channels.
    - `ssh_key`: the path or the text of a private SSH key by which the connection signs in, with `tenant` where that is not
      `default`, and `key_id` for a key that belongs to no agent; without it the API key signs in, and `tenant` is for a
      platform key.
    - `agent_id`: the agent is registered already and has this id; without it the agent registers under its name, and takes it
      over from an earlier process, which ends then and says so.
    - `capabilities`: what it can do; without them the names of its tasks.
    - `heartbeat`: seconds between two signs of life over the connection, 25 where it is `None`; needed where the server's
      `heartbeat_interval` is below that. An agent that listens looks as often whether another process has taken its name.
    - `url`, `api_key`: as for `Client`. `drain` is how many seconds handlers have to finish once the agent is to stop.
    """

    def __init__(
        self,
        name: str,
        *,
        capabilities: Optional[Sequence[CapabilityBody]] = None,
        version: str = "1",
        metadata: Optional[Mapping[str, Any]] = None,
        connect: str = "http",
        listen: str = "127.0.0.1:0",
        reached_at: Optional[str] = None,
        ssh_key: Optional[str] = None,
        key_id: Optional[str] = None,
        tenant: Optional[str] = None,
        agent_id: Optional[str] = None,
        url: Optional[str] = None,
        api_key: Optional[str] = None,
        concurrency: int = 1,
        heartbeat: Optional[float] = None,
        drain: float = 30.0,
        log_level: int = logging.INFO,
    ) -> None:
        if connect not in ("http", "websocket"):
            raise ConfigurationError(f"connect='{connect}' is neither 'http' nor 'websocket'")
        if ssh_key is not None and connect == "http":
            raise ConfigurationError("an SSH key signs in a connection; give connect='websocket' with it")
        if concurrency < 1:
            raise ConfigurationError(f"concurrency={concurrency} would handle nothing; give 1 or more")
        self._heartbeat = heartbeat
        self.name = name
        self.agent_id = agent_id
        """The id that the server knows it by, once it has started."""
        self.endpoint: Optional[str] = None
        """The address that it registered, where it listens."""
        self._capabilities = capabilities
        self._version = version
        self._metadata = dict(metadata or {})
        self._connect, self._listen, self._reached_at = connect, listen, reached_at
        self._ssh_key, self._key_id, self._tenant = ssh_key, key_id, tenant
        self._url, self._api_key = url, api_key
        self._concurrency, self._drain, self._log_level = concurrency, drain, log_level
        self._handlers = Handlers()
        self._subscribed: list[tuple[str, Optional[int]]] = []
        self._tools: dict[str, Tool[Any, Any]] = {}
        self._tools_listen = "127.0.0.1:0"
        self._tools_reached_at: Optional[str] = None
        self._running: Optional[_Running] = None

    def task(self, name: Optional[str] = None) -> Callable[[F], F]:
        """Handles the tasks of a name; without one, of the function's name. `*` takes those without a handler.

        A parameter gets the task's parameter of its name; `ctx` gets the `Context`; `payload` gets all parameters at once.
        What the function answers is the task's result; an exception fails the task, a `Failure` with a code."""
        return self._adds("task", name)

    def message(self, message_type: Optional[str] = None) -> Callable[[F], F]:
        """Handles the messages of a type; without one, of the function's name. `*` takes those without a handler."""
        return self._adds("message", message_type)

    def command(self, name: Optional[str] = None) -> Callable[[F], F]:
        """Handles the commands of a name, which come over a WebSocket; what the function answers is the answer."""
        return self._adds("command", name)

    def request(self) -> Callable[[F], F]:
        """Handles what other agents ask this one (`Agent.ask`); what the function answers is the answer. Needs a WebSocket.
        What is asked on a subject goes to the handler that is subscribed to it."""
        return self._adds("request", "*")

    def subscribe(self, subject: str, *, after: Optional[int] = None) -> Callable[[F], F]:
        """Handles what is published to a subject: `*` is one part, `>` at the end one or more. `after` begins with what the
        channel keeps after that sequence; 0 is all of it. Needs a WebSocket."""

        def add(function: F) -> F:
            self._handlers.add("publication", subject, function)
            self._subscribed.append((subject, after))
            return function

        return add

    def tool(self, function: Union[Callable[..., Any], Tool[Any, Any]]) -> Tool[Any, Any]:
        """Serves a function as a tool beside the agent, and registers it: its schema comes from its annotations. Registering
        a tool needs a key of scope `admin`."""
        made = function if isinstance(function, Tool) else Tool(function)
        self._tools[made.name] = made
        return made

    def serve_tools(self, listen: str = "127.0.0.1:0", reached_at: Optional[str] = None) -> None:
        """Where the agent's tools listen, and under which address the server reaches them where that is another."""
        self._tools_listen, self._tools_reached_at = listen, reached_at

    def run(self) -> None:
        """Runs the agent until it is told to stop: SIGTERM and Ctrl-C let its handlers finish, a second one ends it at once. It
        waits for a server that is not there yet, and says so. Where it cannot start, or is over by itself, it says why in a line and exits with 1; `serve` raises instead."""
        if not logging.getLogger().handlers:
            logging.basicConfig(level=self._log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        try:
            asyncio.run(self.serve())
        except AgentKitError as error:
            sys.exit(f"error: {error}")

    async def serve(self, started: Optional[Callable[[], Any]] = None) -> None:
        """Runs the agent in this event loop until `stop` is called, or the program is told to end; `started` is called once
        it is registered and takes work. Raises `AgentKitError` where it is over by itself, such as when another process took
        over its connection."""
        if self._running is not None:
            raise RuntimeError(f"the agent '{self.name}' runs already")
        self._running = running = _Running(self)
        try:
            await running.run(started)
        finally:
            self._running = None

    def stop(self) -> None:
        """Lets the agent finish what it has and end; `serve` returns then. May be called from any thread."""
        if self._running is not None:
            self._running.stop()

    def call(self, name: str, payload: Any = None, *, kind: str = "task", **about: Any) -> Any:
        """Runs a handler in this thread and answers its result as JSON, without a server: for tests. `about` is anything
        else that a `Call` has, such as `attempt=2`. What the handler raises is raised; progress and log lines go nowhere."""
        return _direct.run_to_its_end(self._handlers, _call_of(name, payload, kind, about))

    async def call_async(self, name: str, payload: Any = None, *, kind: str = "task", **about: Any) -> Any:
        """The same as `call`, inside an event loop."""
        return await _direct.run(self._handlers, _call_of(name, payload, kind, about))

    async def publish(self, subject: str, payload: Any) -> Optional[int]:
        """Publishes to a subject; answers the place in its channel, where it is kept in one."""
        answer = loads(await _complete(self._at_work.publish(subject, dumps(payload))))
        sequence: Optional[int] = answer["sequence"]
        return sequence

    async def send(self, agent_id: str, message_type: str, payload: Optional[Mapping[str, Any]] = None) -> str:
        """Sends a message to another agent, and answers its id: it is durable."""
        call = self._at_work.send(agent_id, message_type, dumps(dict(payload or {})))
        return str(loads(await _complete(call)))

    async def ask(self, agent_id: str, payload: Any, *, timeout: float = 30.0) -> Any:
        """Asks another agent over the connection, and waits for what its handler of requests answers, for 300 s at most."""
        return loads(await _complete(self._at_work.ask(agent_id, dumps(payload), timeout)))

    @property
    def _at_work(self) -> _native.Agent:
        if self._running is None:
            raise ConfigurationError(f"the agent '{self.name}' is not running; call this from a handler")
        return self._running.native

    def _adds(self, kind: str, name: Optional[str]) -> Callable[[F], F]:
        if callable(name):
            raise TypeError(f"write @agent.{kind}(), with parentheses")

        def add(function: F) -> F:
            self._handlers.add(kind, name or function.__name__, function)
            return function

        return add

    def _make(self, client: AsyncClient) -> _native.Agent:
        """The native agent."""
        needs = "a subscription" if self._subscribed else None
        for kind in ("command", "request"):
            needs = f"a {kind}" if self._handlers.has(kind) else needs
        if needs and self._connect == "http":
            raise ConfigurationError(
                f"the agent '{self.name}' has the handler of {needs}, which comes over a connection; "
                "give it connect='websocket'"
            )
        if not len(self._handlers) and not self._tools:
            raise ConfigurationError(f"the agent '{self.name}' has no handler; give it one with @agent.task(…)")
        capabilities = self._capabilities if self._capabilities is not None else self._handlers.names("task")
        connects = self._connect == "websocket"
        return _native.Agent(
            client._transport.native,
            self.name,
            version=self._version,
            capabilities=dumps(list(capabilities)),
            metadata=dumps(self._metadata),
            concurrency=self._concurrency,
            heartbeat=self._heartbeat,
            listen=None if connects else self._listen,
            reached_at=self._reached_at,
            agent_id=self.agent_id,
            connect=connects,
            ssh_key=_expanded(self._ssh_key),
            key_id=self._key_id,
            tenant=self._tenant,
            subscriptions=self._subscribed,
        )


class _Running:
    """An agent at work in an event loop."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        tenant = agent._tenant if agent._ssh_key is None else None
        self.client = AsyncClient(agent._url, agent._api_key, tenant=tenant)
        self.native = agent._make(self.client)
        self.loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self.stopping: Optional[asyncio.Task[None]] = None
        self.over: Optional[str] = None
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.threads = Threads(agent._concurrency, agent.name)
        self.tool_server: Optional[ToolServer] = None

    async def run(self, started: Optional[Callable[[], Any]]) -> None:
        logs = OpsCoreHandler(self.agent._log_level)
        logging.getLogger().addHandler(logs)
        restore = self._catch_signals()
        try:
            if await self._start_or_stop() and started is not None:
                started()
            await self.ended.wait()
            if self.stopping is not None:
                await self.stopping
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
            if self.over is not None:
                raise AgentKitError(f"the agent '{self.agent.name}' is over: {self.over}")
            _log.info("the agent '%s' has stopped", self.agent.name)
        except BaseException as error:
            # Cancelled from outside, it drains; after a failed start there is nothing to wait for.
            await self._stop(self.agent._drain if isinstance(error, asyncio.CancelledError) else 0.0)
            raise
        finally:
            restore()
            logging.getLogger().removeHandler(logs)
            if self.tool_server is not None:
                await asyncio.to_thread(self.tool_server.close)
            self.ended.set()
            self.threads.close()

    def stop(self) -> None:
        """Begins to stop, from any thread."""
        self.loop.call_soon_threadsafe(self._begin_to_stop)

    async def _start_or_stop(self) -> bool:
        """Starts, unless it is told to stop before that: it may wait long for its server."""
        threading.Thread(target=self._fetch, name=f"{self.agent.name}-events", daemon=True).start()
        starting = self.loop.create_task(self._start())
        ending = self.loop.create_task(self.ended.wait())
        try:
            await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            return starting.done()
        finally:
            starting.cancel()
            ending.cancel()

    async def _start(self) -> None:
        agent = self.agent
        told = loads(await _complete(self.native.start()))
        agent.agent_id, agent.endpoint = told["agent_id"], told["endpoint"]
        _log.info("the agent '%s' is registered as %s", agent.name, agent.agent_id)
        if agent._tools:
            await self._register_tools()

    async def _register_tools(self) -> None:
        agent = self.agent
        host, _, port = agent._tools_listen.rpartition(":")
        self.tool_server = ToolServer(agent._tools, host or "127.0.0.1", int(port))
        base = (agent._tools_reached_at or f"http://{host or '127.0.0.1'}:{self.tool_server.port}").rstrip("/")
        for made in agent._tools.values():
            await self.client.tools.register(
                made.name,
                f"{base}/{made.name}",
                description=made.description,
                parameters=made.parameters,
            )

    def _fetch(self) -> None:
        """Hands events to the loop, until there are no more."""
        while True:
            event = self.native.next(POLL)
            try:
                if event is not None:
                    self.loop.call_soon_threadsafe(self._on_event, event)
                elif self.loop.is_closed():
                    return
            except RuntimeError:
                return  # The loop is closed.
            if event is not None and event.kind == "ended":
                return

    def _on_event(self, event: _native.Event) -> None:
        if event.kind == "work":
            work = event.take()
            if work is not None:
                task = self.loop.create_task(self._handle(work))
                self.tasks[work.number] = task
                task.add_done_callback(functools.partial(self._forget, work.number))
        elif event.kind == "cancelled" and event.number in self.tasks:
            self.tasks[event.number].cancel()
        elif event.kind == "happening":
            _log.log(_LEVELS.get(event.level or "", logging.INFO), "%s: %s", self.agent.name, event.text)
        elif event.kind == "over" and self.stopping is None:
            self.over = event.text
            self._begin_to_stop()
        elif event.kind == "ended":
            self.ended.set()

    def _forget(self, number: int, task: asyncio.Task[None]) -> None:
        self.tasks.pop(number, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the outcome of a handler could not be told", exc_info=task.exception())

    async def _handle(self, work: _native.Work) -> None:
        call = Call.read(work.call)
        context = Context(work, call)
        _current.set(context)
        handler = self.agent._handlers.of(call)
        try:
            if handler is None:
                raise _direct.no_handler(self.agent._handlers, call)
            result = dumps(await self._call(handler, call, context))
        except asyncio.CancelledError:
            work.fail(f"the {call.kind} '{call.name}' is no longer wanted", "cancelled")
            raise
        except Cancelled as error:
            work.fail(str(error), "cancelled")
        except Failure as failure:
            work.fail(failure.message, failure.code, _details(failure.details))
        except Exception as error:
            _log.exception("the handler of the %s '%s' failed", call.kind, call.name)
            work.fail(f"{type(error).__name__}: {error}", type(error).__name__, _details({"traceback": _trace(error)}))
        else:
            work.finish(result)

    async def _call(self, handler: Handler, call: Call, context: Context) -> Any:
        positional, named = handler.arguments(call, context)
        if handler.is_async:
            return await handler.function(*positional, **named)
        function = functools.partial(handler.function, *positional, **named)
        # The thread sees the context, and so do the log and `current()` in it.
        run = functools.partial(contextvars.copy_context().run, function)
        return await self.threads.run(run)

    def _begin_to_stop(self, how_to_end: str = "") -> None:
        if self.stopping is None:
            _log.info(
                "the agent '%s' finishes what it has, at most %g s%s", self.agent.name, self.agent._drain, how_to_end
            )
            self.stopping = self.loop.create_task(self._stop(self.agent._drain))

    async def _stop(self, grace: float) -> None:
        try:
            finished = loads(await _complete(self.native.stop(grace)))["finished"]
        except AgentKitError:
            return  # It is not at work.
        if not finished:
            _log.warning("the agent '%s' ends with work unfinished; it is given out again", self.agent.name)
            for task in list(self.tasks.values()):
                task.cancel()

    def _catch_signals(self) -> Callable[[], None]:
        """SIGTERM and Ctrl-C begin to stop; a second one ends the program, as handlers may hang."""
        if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
            return lambda: None
        caught = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.getsignal(number) for number in caught}

        def restore() -> None:
            for number in caught:
                self.loop.remove_signal_handler(number)
                signal.signal(number, before[number] or signal.SIG_DFL)

        def begin(number: int) -> None:
            for other in caught:
                self.loop.remove_signal_handler(other)
                signal.signal(other, self._end_at_once)
            self._begin_to_stop("; Ctrl-C again to end at once" if number == signal.SIGINT else "")

        for number in caught:
            self.loop.add_signal_handler(number, begin, number)
        return restore

    def _end_at_once(self, number: int, _frame: Any) -> None:
        """Ends the program as the signal would have: a handler may hang, and the event loop with it."""
        _log.warning("the agent '%s' ends at once; what it had is given out again", self.agent.name)
        with contextlib.suppress(RuntimeError):  # The signal may have come in the middle of a write.
            sys.stdout.flush()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _call_of(name: str, payload: Any, kind: str, about: Mapping[str, Any]) -> Call:
    return Call(kind, name, {} if payload is None else json.loads(dumps(payload)), **about)


def _details(details: Any) -> Optional[bytes]:
    return None if details is None else dumps(details)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))[-TRACEBACK_MAX:]


def _expanded(ssh_key: Optional[str]) -> Optional[str]:
    if ssh_key is not None and ssh_key.startswith("~"):
        return os.path.expanduser(ssh_key)
    return ssh_key


