"""What can go wrong. Every error of this package is an `AgentKitError`."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence


class AgentKitError(Exception):
    """A call did not succeed. The text says what is wrong and, where that is known, what to do."""

    def __init__(
        self,
        message: str,
        status_code: Optional[int] = None,
        response_data: Any = None,
        *,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        """The HTTP status of the answer, where there was one."""
        self.response_data = response_data
        """The answer's JSON, most often a problem (RFC 9457) with `type`, `title`, `detail` and `errors`."""
        self.request_id = request_id
        """The answer's `x-request-id`, to be named when asking an operator."""
        self.retry_after = retry_after
        """Seconds after which the server asks to come again."""

    @property
    def problem_type(self) -> Optional[str]:
        """The kind of problem as the server names it, such as `not-found`; the reference lists them."""
        kind = self._field("type")
        return kind.rsplit("/", 1)[-1] if isinstance(kind, str) else None

    @property
    def detail(self) -> str:
        """What is wrong and what to do, in the server's words; the message where it said nothing."""
        detail = self._field("detail")
        return detail if isinstance(detail, str) else self.message

    @property
    def errors(self) -> Sequence[Mapping[str, str]]:
        """Every fault of a rejected body, each with `pointer` and `message`."""
        errors = self._field("errors")
        return errors if isinstance(errors, list) else []

    def _field(self, name: str) -> Any:
        return self.response_data.get(name) if isinstance(self.response_data, dict) else None


class ConfigurationError(AgentKitError):
    """This program is set up in a way that cannot work; nothing was sent."""


class ServerUnreachable(AgentKitError):
    """The server could not be reached, or the connection broke before an answer came."""


class ServerTimeout(AgentKitError):
    """No whole answer came in time."""


class UnreadableAnswer(AgentKitError):
    """The answer is not what this call is answered with."""


class AuthenticationError(AgentKitError):
    """401: no credentials, or none that are good."""


class PermissionDenied(AgentKitError):
    """403: good credentials, but not for this."""


class NotFound(AgentKitError):
    """404: there is no such thing in this tenant."""


class Conflict(AgentKitError):
    """409: it does not go with what exists."""


class InvalidRequest(AgentKitError):
    """400, 413, 415 or 422: what was sent does not fit; `errors` has every fault."""


class TooManyRequests(AgentKitError):
    """429: over a rate or a limit of the tenant; `retry_after` says when to come again."""


class ServerError(AgentKitError):
    """5xx: the server, a tool or an upstream could not do it."""


_BY_STATUS: Mapping[int, type[AgentKitError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
}

_BY_KIND: Mapping[str, type[AgentKitError]] = {
    "unusable": ConfigurationError,
    "unreachable": ServerUnreachable,
    "timeout": ServerTimeout,
    "unreadable": UnreadableAnswer,
}


def of_status(status: int) -> type[AgentKitError]:
    """The class of the error of an HTTP status."""
    return _BY_STATUS.get(status, ServerError if status >= 500 else AgentKitError)


def of_kind(kind: str) -> type[AgentKitError]:
    """The class of an error that came without an answer."""
    return _BY_KIND.get(kind, AgentKitError)
