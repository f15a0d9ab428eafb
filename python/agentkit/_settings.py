"""Where the server is and who calls: what is given, else the environment, else the defaults."""

from __future__ import annotations

import os
from typing import Optional

DEFAULT_URL = "http://127.0.0.1:8000"


def server_url(given: Optional[str] = None) -> str:
    """`SIGNALBOX_URL`, else `OPSCORE_API_URL`, else a server on this machine."""
    return given or _environment("SIGNALBOX_URL", "OPSCORE_API_URL") or DEFAULT_URL


def api_key(given: Optional[str] = None) -> Optional[str]:
    """`SIGNALBOX_API_KEY`, else `OPSCORE_API_KEY`."""
    return given or _environment("SIGNALBOX_API_KEY", "OPSCORE_API_KEY")


def key_source(given: Optional[str] = None) -> Optional[str]:
    """Where `api_key` has it from, in words; `None` where there is no key."""
    if given:
        return "the argument api_key"
    return next((name for name in ("SIGNALBOX_API_KEY", "OPSCORE_API_KEY") if os.environ.get(name)), None)


def opscore_url() -> Optional[str]:
    """Where Ops-Core is, if the environment says so."""
    return _environment("OPSCORE_API_URL", "SIGNALBOX_URL")


def opscore_key() -> Optional[str]:
    """The key of Ops-Core, if the environment has one."""
    return _environment("OPSCORE_API_KEY", "SIGNALBOX_API_KEY")


def _environment(*names: str) -> Optional[str]:
    return next((value for value in map(os.environ.get, names) if value), None)
