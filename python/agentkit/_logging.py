"""The standard library's `logging`, from below a handler to the central log of Ops-Core."""

from __future__ import annotations

import logging
from typing import Any

from agentkit._transport import dumps
from agentkit.work import Context, current

# What every record has; the rest of its attributes were given as `extra`.
_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class OpsCoreHandler(logging.Handler):
    """Sends the records of handlers to Ops-Core, with the task, the session and the trace; passes over all others. An agent
    that runs adds one to the root logger by itself."""

    def emit(self, record: logging.LogRecord) -> None:
        context = current()
        if context is None:
            return
        try:
            self._send(context, record)
        except Exception:
            self.handleError(record)

    def _send(self, context: Context, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        fields.update({name: value for name, value in vars(record).items() if name not in _OWN})
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        try:
            told = dumps(fields)
        except (TypeError, ValueError):
            told = dumps({name: str(value) for name, value in fields.items()})
        context._work.log(level_of(record.levelno), record.getMessage() or record.name, told)


def level_of(number: int) -> str:
    """Ops-Core's word for a level of the standard library's."""
    for least, word in ((50, "critical"), (40, "error"), (30, "warning"), (20, "info")):
        if number >= least:
            return word
    return "debug"
