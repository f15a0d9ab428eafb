"""The native part: HTTP, WebSocket and the agent's runtime, in threads of its own that need no interpreter lock."""

from typing import Optional, Sequence, final

__all__ = [
    "Agent",
    "Answer",
    "Call",
    "Client",
    "Completions",
    "Event",
    "Fault",
    "Stream",
    "Work",
    "__version__",
]

__version__: str

@final
class Fault:
    """Why a call did not succeed."""

    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def status(self) -> Optional[int]: ...
    @property
    def request_id(self) -> Optional[str]: ...
    @property
    def retry_after(self) -> Optional[float]: ...

@final
class Answer:
    """What came of a call."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def error(self) -> Optional[Fault]: ...

@final
class Call:
    """A call that is ready to go, once."""

    def wait(self) -> Answer: ...
    def submit(self, completions: Completions, token: int) -> None: ...
    def cancel(self) -> None: ...

@final
class Completions:
    """The answers of calls that nobody waits for in a thread."""

    def __new__(cls) -> Completions: ...
    def next(self) -> list[tuple[int, Answer]]: ...

@final
class Stream:
    """Events that come one by one; the answer of `next` has the status 204 at the end."""

    def next(self) -> Call: ...

@final
class Client:
    """A client of one server on behalf of one caller."""

    def __new__(
        cls,
        url: str,
        api_key: Optional[str] = None,
        timeout: Optional[float] = None,
        attempts: Optional[int] = None,
        tenant: Optional[str] = None,
        key_source: Optional[str] = None,
    ) -> Client: ...
    @property
    def url(self) -> str: ...
    def request(
        self,
        method: str,
        path: Sequence[str],
        query: Sequence[tuple[str, str]],
        body: Optional[bytes] = None,
        content_type: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Call: ...
    def session_events(self, session_id: str, after: int = 0) -> Stream: ...
    def follow(self, path: Sequence[str], query: Sequence[tuple[str, str]], after: int = 0) -> Stream: ...

@final
class Work:
    """A piece of work for a handler."""

    @property
    def number(self) -> int: ...
    @property
    def call(self) -> bytes: ...
    @property
    def cancelled(self) -> bool: ...
    def finish(self, result: bytes) -> bool: ...
    def fail(self, message: str, code: Optional[str] = None, details: Optional[bytes] = None) -> bool: ...
    def progress(self, percent: float, note: Optional[str] = None) -> None: ...
    def log(self, level: str, message: str, fields: Optional[bytes] = None) -> None: ...

@final
class Event:
    """Something that Python is to know: `work`, `cancelled`, `happening`, `over` (and why) or `ended`."""

    @property
    def kind(self) -> str: ...
    @property
    def number(self) -> Optional[int]: ...
    @property
    def level(self) -> Optional[str]: ...
    @property
    def text(self) -> Optional[str]: ...
    def take(self) -> Optional[Work]: ...

@final
class Agent:
    """An agent: about to start, or at work."""

    def __new__(
        cls,
        client: Client,
        name: str,
        *,
        version: str,
        capabilities: bytes,
        metadata: bytes,
        concurrency: int,
        heartbeat: Optional[float] = None,
        listen: Optional[str] = None,
        reached_at: Optional[str] = None,
        agent_id: Optional[str] = None,
        connect: bool = False,
        ssh_key: Optional[str] = None,
        key_id: Optional[str] = None,
        tenant: Optional[str] = None,
        subscriptions: Sequence[tuple[str, Optional[int]]] = ...,
    ) -> Agent: ...
    def start(self) -> Call: ...
    def next(self, timeout: float) -> Optional[Event]: ...
    def stop(self, grace: float) -> Call: ...
    def publish(self, subject: str, payload: bytes) -> Call: ...
    def send(self, agent_id: str, message_type: str, payload: bytes) -> Call: ...
    def ask(self, agent_id: str, payload: bytes, timeout: float) -> Call: ...
