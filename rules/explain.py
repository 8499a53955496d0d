"""A decision as lines of text for people: what was decided, then every rule and warehouse with the reason."""

from __future__ import annotations

from domain.decision import Decision, Part, TraceStep


def explain(decision: Decision) -> list[str]:
    """The decision in lines, its trace last; one line per rule looked at, `+` matched, `-` not."""
    lines = [f"ruleset {decision.ruleset}: {'released' if decision.released else 'not released'}"]
    lines += [
        f"hold {hold.code} by {hold.rule}" + (f": {hold.detail}" if hold.detail else "") for hold in decision.holds
    ]
    lines += [f"gift {gift.quantity} × {gift.sku} by {gift.rule}" for gift in decision.gifts]
    if decision.merging is not None:
        minutes, rule = decision.merging.window_minutes, decision.merging.rule
        lines.append(f"merges within {minutes} minutes by {rule}" if minutes else f"never merges by {rule}")
    lines += [_part(number, part) for number, part in enumerate(decision.parts, 1)]
    if not decision.parts:
        lines.append("no warehouse")
    if decision.not_before is not None:
        lines.append(f"not before {decision.not_before.isoformat()}")
    if decision.tags:
        lines.append(f"tags {', '.join(decision.tags)}")
    return lines + [_step(step) for step in decision.trace]


def why_not(decision: Decision, name: str) -> str:
    """Why a rule (by id) or a warehouse (by name) did not come into it, or what its match saw; "" if it is not in the
    trace."""
    wanted = {name, f"warehouse {name}"}
    return "; ".join(step.why for step in decision.trace if step.rule in wanted)


def _part(number: int, part: Part) -> str:
    units = ", ".join(f"line {line.line + 1}: {line.quantity} × {line.sku}" for line in part.lines)
    return f"part {number} from {part.warehouse} by {part.carrier or 'the warehouse’s own carrier'}: {units}"


def _step(step: TraceStep) -> str:
    return f"{'+' if step.matched else '-'} {step.phase} {step.rule}: {step.why}"
