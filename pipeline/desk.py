"""What callers of the API do to orders and exceptions: their requests read strictly, their walls kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import MappingError, RefusedError
from wire.strict_json import parse_value

from .access import Caller
from .bootstrap import Hub
from .order_view import account_of
from .references import exception_id
from .regroup import merge_orders, reroute_order, unmerge_order
from .review import Action, Reviewed, cancel_by_external, cancel_by_number, review, send_now

_LONGEST_ID = 200
_LONGEST_NOTE = 1_000
_MOST_FIXES = 100


def cancel_number(hub: Hub, caller: Caller, number: str, body: bytes) -> dict[str, Any]:
    """Cancel an order of this caller's by its number. RefusedError `not_found`, `order_not_cancellable`."""
    reason = _note(_object(body, ("reason",)), "reason")
    why = reason or "cancelled by request"
    return _told(cancel_by_number(hub, number, actor=caller.actor, why=why, partner_id=caller.partner_id))


def cancel_external(hub: Hub, caller: Caller, account: str, external_id: str, body: bytes) -> dict[str, Any]:
    """The same by the source's id. An order that has not come yet is remembered: it will be stored closed."""
    reason = _note(_object(body, ("reason",)), "reason")
    account_id = account_of(hub, account, partner_id=caller.partner_id)
    if not external_id.strip() or len(external_id) > _LONGEST_ID:
        raise RefusedError("id", f"text of 1 to {_LONGEST_ID} characters, not only blanks")
    why = reason or "cancelled by request"
    return _told(cancel_by_external(hub, account_id, external_id, actor=caller.actor, why=why))


def send_number_now(hub: Hub, caller: Caller, number: str, body: bytes) -> dict[str, Any]:
    """Let a released order go out at once. RefusedError `not_found`, `not_ready`."""
    _note(_object(body, ("note",)), "note")
    return _told(send_now(hub, number, actor=caller.actor, partner_id=caller.partner_id))


def merge_number(hub: Hub, caller: Caller, number: str, body: bytes) -> dict[str, Any]:
    """`{"with": number}`: let two orders share a parcel. RefusedError as `merge_orders`."""
    told = _object(body, ("with",))
    other = _note(told, "with")
    if not other:
        raise MappingError("text", "the number of the other order", path="with")
    return _told(merge_orders(hub, number, other, actor=caller.actor))


def unmerge_number(hub: Hub, caller: Caller, number: str, body: bytes) -> dict[str, Any]:
    """Take an order out of the parcel it would share. RefusedError as `unmerge_order`."""
    _object(body, ())
    return _told(unmerge_order(hub, number, actor=caller.actor))


def reroute_number(hub: Hub, caller: Caller, number: str, body: bytes) -> dict[str, Any]:
    """`{"warehouse": name}`: send it from there; "" leaves it to the rules again. RefusedError as `reroute_order`."""
    told = _object(body, ("warehouse",))
    return _told(reroute_order(hub, number, _note(told, "warehouse"), actor=caller.actor))


def resolve_exception(hub: Hub, caller: Caller, ref: str, body: bytes) -> dict[str, Any]:
    """`{"action": fix | release | cancel | dismiss, "fixes": [{"path", "value"}], "note"}`. RefusedError as `review`."""
    told = _object(body, ("action", "fixes", "note"))
    action: Action | None = told.get("action")
    if action not in ("fix", "release", "cancel", "dismiss"):
        raise MappingError("action", "fix, release, cancel or dismiss", path="action")
    fixes = _fixes(told.get("fixes") or ())
    if (action == "fix") != bool(fixes):
        raise MappingError("fixes", "a fix needs fixes, and nothing else takes any", path="fixes")
    return _act(hub, caller, ref, action, fixes, _note(told, "note"))


def retry_exception(hub: Hub, caller: Caller, ref: str, body: bytes) -> dict[str, Any]:
    """Try again: read the document once more, or send what was parked. RefusedError as `review`."""
    return _act(hub, caller, ref, "retry", (), _note(_object(body, ("note",)), "note"))


def _act(
    hub: Hub, caller: Caller, ref: str, action: Action, fixes: Sequence[tuple[str, str]], note: str
) -> dict[str, Any]:
    done = review(hub, exception_id(ref), action, actor=caller.actor, fixes=fixes, note=note, scope=caller.scope)
    return _told(done)


def _told(reviewed: Reviewed) -> dict[str, Any]:
    return {"number": reviewed.number, "status": reviewed.status, "exceptions": list(reviewed.still_open)}


def _object(body: bytes, names: Sequence[str]) -> Mapping[str, Any]:
    """A JSON object with no other names; no body at all is an empty one."""
    told = parse_value(body) if body.strip() else {}
    if not isinstance(told, Mapping):
        raise MappingError("type", "an object was expected")
    unknown = sorted(set(told) - set(names))
    if unknown:
        raise MappingError("unknown_field", f"known are {', '.join(names)}", path=unknown[0][:60])
    return told


def _note(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name) or ""
    if not isinstance(value, str) or len(value) > _LONGEST_NOTE:
        raise MappingError("text", f"text of at most {_LONGEST_NOTE} characters", path=name)
    return value


def _fixes(told: Any) -> tuple[tuple[str, str], ...]:
    fixes: list[tuple[str, str]] = []
    for index, entry in enumerate(told if isinstance(told, list | tuple) and len(told) <= _MOST_FIXES else (None,)):
        names = set(entry) if isinstance(entry, Mapping) else set()
        if names != {"path", "value"} or not all(isinstance(value, str) for value in entry.values()):
            raise MappingError(
                "fixes", f"a list of at most {_MOST_FIXES} objects with path and value", path=f"fixes.{index}"
            )
        if len(entry["value"]) > _LONGEST_NOTE:
            raise MappingError("text", f"text of at most {_LONGEST_NOTE} characters", path=f"fixes.{index}.value")
        fixes.append((entry["path"], entry["value"]))
    return tuple(fixes)
