"""What a failing database means for whoever waits for an answer: full, or not there. Anything else is a fault of ours."""

from __future__ import annotations

from sqlalchemy import exc

from domain.errors import HubError, RetryableError

# https://www.postgresql.org/docs/18/errcodes-appendix.html: serialization_failure, deadlock_detected.
_AGAIN = frozenset({"40001", "40P01"})
_DISK_FULL = "53100"


def read_trouble(error: BaseException) -> RetryableError | None:
    """`disk_full` or `database_unavailable` when the database itself is in trouble, None for any other error."""
    if isinstance(error, exc.DBAPIError):
        text = str(error.orig).lower()
        if _sqlstate(error) == _DISK_FULL or "disk is full" in text or "no space left" in text:
            return RetryableError("disk_full", "the database has no space left")
    if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
        return RetryableError("database_unavailable", "the database does not answer")
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return RetryableError("database_unavailable", "the connection to the database was lost")
    return None


def is_race(error: BaseException) -> bool:
    """Whether another transaction was first (unique row, deadlock, serialization): the same work may succeed at once."""
    return isinstance(error, exc.IntegrityError) or (isinstance(error, exc.DBAPIError) and _sqlstate(error) in _AGAIN)


def name_of(error: BaseException) -> str:
    """What to call an error in a log: our own code, or the driver's name for what the database said."""
    if isinstance(error, HubError):
        return error.code
    return type(getattr(error, "orig", None) or error).__name__


def _sqlstate(error: exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", "") or "")
