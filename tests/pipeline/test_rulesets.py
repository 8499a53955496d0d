"""The life of a ruleset on both databases: two people, one replay, a moment, and a way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from domain.errors import ConfigError, RefusedError
from pipeline.apply import apply_values
from pipeline.directory import read_directory
from pipeline.rulesets import (
    approve_version,
    arm_version,
    export_version,
    faults_of,
    import_version,
    list_versions,
    read_moment,
    read_told,
    replay_version,
    retire_version,
    roll_back,
    show_version,
    staff_actor,
    validate_version,
    version_in_force,
    write_draft,
)
from rules.language import default_ruleset
from storage import tables as t

from .build import Shop, order

LI, WANG = "key:li", "key:wang"


def rules(version: str, *tags: str, **more: Any) -> bytes:
    listed = [{"id": tag, "phase": "tag", "when": {"all": []}, "then": {"tag": tag}} for tag in tags]
    return json.dumps({"version": version, "rules": listed, **more}).encode()


def tried(shop: Shop, version: str, *tags: str) -> None:
    write_draft(shop.hub, rules(version, *tags), actor=LI)
    replay_version(shop.hub, version, actor=LI, last=100)


def approved(shop: Shop, version: str, *tags: str) -> None:
    tried(shop, version, *tags)
    approve_version(shop.hub, version, actor=WANG)


def armed(shop: Shop, version: str, *tags: str) -> None:
    approved(shop, version, *tags)
    arm_version(shop.hub, version, actor=LI)


def in_force(shop: Shop) -> str:
    """What decides about the next order, as any process sees it."""
    with shop.hub.read() as tx:
        return read_directory(shop.hub, tx).ruleset.version


def refused(call: Callable[..., Any], *words: Any, **named: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        call(*words, **named)
    return caught.value.code


def log(shop: Shop, version: str) -> list[tuple[str, str]]:
    return [(row["actor"], row["kind"]) for row in reversed(show_version(shop.hub, version)["events"])]


def test_a_draft_decides_about_orders_only_after_a_replay_a_second_person_and_arming(shop: Shop) -> None:
    shop.take(order())
    write_draft(shop.hub, rules("v1", "new"), actor=LI)
    assert show_version(shop.hub, "v1")["state"] == "validated"
    assert refused(arm_version, shop.hub, "v1", actor=LI) == "replay_missing"
    assert refused(approve_version, shop.hub, "v1", actor=WANG) == "replay_missing"
    replay_version(shop.hub, "v1", actor=LI, last=100)
    assert refused(approve_version, shop.hub, "v1", actor=LI) == "second_person"
    assert refused(arm_version, shop.hub, "v1", actor=WANG) == "second_person"
    approve_version(shop.hub, "v1", actor=WANG)
    assert in_force(shop) == default_ruleset().version
    arm_version(shop.hub, "v1", actor=LI)
    assert in_force(shop) == version_in_force(shop.hub) == "v1"
    assert json.loads(shop.take(order("PO-2")).dossier.order["tags"]) == ["new"]
    assert log(shop, "v1") == [(LI, "drafted"), (LI, "validated"), (LI, "replayed"), (WANG, "approved"), (LI, "armed")]


def test_another_document_needs_another_replay_and_another_approval(shop: Shop) -> None:
    tried(shop, "v1", "a")
    write_draft(shop.hub, rules("v1", "b"), actor=WANG)
    assert refused(approve_version, shop.hub, "v1", actor=LI) == "replay_missing"
    replay_version(shop.hub, "v1", actor=LI, last=10)
    assert refused(approve_version, shop.hub, "v1", actor=WANG) == "second_person"
    approve_version(shop.hub, "v1", actor=LI)
    assert refused(write_draft, shop.hub, rules("v1", "c"), actor=LI) == "ruleset_version"
    replay_version(shop.hub, "v1", actor=WANG, last=10)
    assert refused(arm_version, shop.hub, "v1", actor=WANG) == "second_person"


def test_a_version_armed_for_later_decides_from_its_moment_on(shop: Shop) -> None:
    armed(shop, "v1", "a")
    approved(shop, "v2", "b")
    later = shop.hub.now() + 3_600_000_000
    arm_version(shop.hub, "v2", actor=LI, at=later)
    assert in_force(shop) == "v1"
    shop.clock.wait(minutes=59)
    assert in_force(shop) == "v1"
    shop.clock.wait(minutes=2)
    assert in_force(shop) == "v2"
    assert {row["version"]: (row["state"], row["in_force"]) for row in list_versions(shop.hub)} == {
        "v1": ("retired", False),
        "v2": ("armed", True),
    }


def test_rolling_back_is_one_action_and_never_goes_forward_again(shop: Shop) -> None:
    for version in ("v1", "v2", "v3"):
        armed(shop, version, version)
        shop.clock.wait(hours=1)
    assert roll_back(shop.hub, actor=WANG, reason="holds everything") == ("v3", "v2")
    assert in_force(shop) == "v2"
    assert json.loads(shop.take(order()).dossier.order["tags"]) == ["v2"]
    assert roll_back(shop.hub, actor=WANG) == ("v2", "v1")
    assert in_force(shop) == "v1"
    assert roll_back(shop.hub, actor=WANG) == ("v1", default_ruleset().version)
    assert in_force(shop) == default_ruleset().version
    assert refused(roll_back, shop.hub, actor=WANG) == "nothing_to_roll_back"
    assert log(shop, "v3")[-1] == (WANG, "rolled_back")
    assert (WANG, "armed_again") in log(shop, "v2")


def test_a_scheduled_version_can_be_taken_back_and_one_in_force_only_rolled_back(shop: Shop) -> None:
    armed(shop, "v1", "a")
    approved(shop, "v2", "b")
    arm_version(shop.hub, "v2", actor=LI, at=shop.hub.now() + 1_000_000_000)
    retire_version(shop.hub, "v2", actor=WANG, reason="not yet")
    shop.clock.wait(days=1)
    assert in_force(shop) == "v1"
    assert refused(retire_version, shop.hub, "v1", actor=WANG) == "ruleset_state"
    assert refused(arm_version, shop.hub, "v2", actor=WANG) == "ruleset_state"
    assert roll_back(shop.hub, actor=WANG)[1] == default_ruleset().version


def test_a_draft_with_faults_is_kept_and_goes_no_further(shop: Shop) -> None:
    broken = json.dumps(
        {"version": "v1", "rules": [{"id": "x", "phase": "tag", "when": {"field": "no"}, "then": {"tag": "t"}}]}
    )
    row = write_draft(shop.hub, broken.encode(), actor=LI)
    assert (row["state"], bool(row["faults"])) == ("draft", True)
    assert refused(validate_version, shop.hub, "v1", actor=LI) == "ruleset_invalid"
    assert refused(replay_version, shop.hub, "v1", actor=LI, last=1) == "ruleset_state"
    write_draft(shop.hub, rules("v1", "a"), actor=LI)
    assert validate_version(shop.hub, "v1", actor=LI)["state"] == "validated"
    for document in (b"", b"[]", b"{", b'{"version": 3}', b'{"version": "\\ud800"}', b"\xff", b"[" * 100_000):
        assert refused(write_draft, shop.hub, document, actor=LI) == "ruleset_invalid"
        assert faults_of(document)
    for call in (show_version, export_version):
        assert refused(call, shop.hub, "nothing") == "not_found"


def test_the_database_itself_keeps_the_two_person_rule(shop: Shop) -> None:
    tried(shop, "v1", "a")
    live = {"state": "armed", "armed_from": 1}
    another = {"approver": WANG, "replay_digest": "another"}
    for values in ({"approver": LI}, live, live | {"approver": LI}, live | another, live | {"armed_from": None}):
        with pytest.raises(IntegrityError), shop.hub.write() as tx:
            tx.execute(update(t.rulesets).where(t.rulesets.c.version == "v1").values(**values))


def test_broken_guard_rails_stop_an_approval_unless_somebody_says_why(shop: Shop) -> None:
    shop.take(order())
    hold = {"id": "h", "phase": "hold", "when": {"all": []}, "then": {"hold": "hold_all"}}
    document = json.dumps({"version": "v1", "rules": [hold]}).encode()
    write_draft(shop.hub, document, actor=LI, rails={"holds_up_percent": 50})
    assert replay_version(shop.hub, "v1", actor=LI, last=10)["broken"] == ["holds_up_percent"]
    assert refused(approve_version, shop.hub, "v1", actor=WANG) == "rails_broken"
    row = approve_version(shop.hub, "v1", actor=WANG, override="stock-taking today")
    assert row["override_reason"] == "stock-taking today"
    assert row["events"][0]["detail"]["reason"] == "stock-taking today"
    arm_version(shop.hub, "v1", actor=LI)
    assert shop.take(order("PO-2")).codes == ["hold_all"]


def test_an_export_comes_in_as_a_draft_of_whoever_brings_it(shop: Shop) -> None:
    armed(shop, "v1", "a")
    exported = export_version(shop.hub, "v1")
    changed = {**exported, "ruleset": {**exported["ruleset"], "note": "x"}}
    for told in (json.dumps(changed), "[]", "{}", "x"):
        assert refused(import_version, shop.hub, told.encode(), actor=WANG) == "ruleset_export"
    with shop.hub.write() as tx:
        tx.execute(t.rulesets.delete())
    row = import_version(shop.hub, json.dumps(exported).encode(), actor=WANG)
    assert (row["state"], row["author"], row["digest"]) == ("validated", WANG, exported["digest"])


def test_the_first_ruleset_file_is_armed_and_a_later_one_is_a_draft(shop: Shop, tmp_path: Path) -> None:
    def apply(document: bytes) -> dict[str, int]:
        (tmp_path / "rules.json").write_bytes(document)
        return apply_values(shop.hub, {"ruleset": {"file": "rules.json"}}, tmp_path).changed

    assert apply(rules("v1", "a")) == {"ruleset": 1}
    assert in_force(shop) == "v1"
    assert apply(rules("v1", "a")) == {}
    assert apply(rules("v2", "b")) == {"ruleset_draft": 1}
    assert in_force(shop) == "v1"
    assert apply(rules("v2", "b")) == {}
    with pytest.raises(ConfigError, match="new one"):
        apply(rules("v2", "c"))
    replay_version(shop.hub, "v2", actor=LI, last=10)
    approve_version(shop.hub, "v2", actor=WANG)
    arm_version(shop.hub, "v2", actor=WANG)
    assert in_force(shop) == "v2"
    assert roll_back(shop.hub, actor=WANG) == ("v2", "v1")


def test_who_acts_on_the_command_line_has_a_staff_key(small_shop: Shop) -> None:
    scopes = {
        "clerk": "clerk-key-of-enough-length",
        "read": "read-key-of-enough-length",
        "admin": "admin-key-of-enough-length",
    }
    apply_values(small_shop.hub, {"keys": [{"name": name, "scope": name, "key": key} for name, key in scopes.items()]})
    assert staff_actor(small_shop.hub, scopes["clerk"]) == "key:clerk"
    assert staff_actor(small_shop.hub, scopes["admin"]) == "key:admin"
    assert refused(staff_actor, small_shop.hub, scopes["read"]) == "forbidden"
    assert refused(staff_actor, small_shop.hub, "nobody's") == "unauthenticated"
    with pytest.raises(ConfigError, match="who you are"):
        staff_actor(small_shop.hub, "")


def test_what_people_type_is_read_strictly() -> None:
    moment = read_moment("1970-01-01T08:00:01+08:00")
    assert moment == 1_000_000 == timedelta(seconds=1) // timedelta(microseconds=1)
    assert refused(read_moment, "tomorrow") == refused(read_moment, "2026-11-11T00:00:00") == "when"
    assert read_told('{"failed": 1}') == {"failed": 1}
    assert refused(read_told, "[]") == refused(read_told, "{") == "rails"
