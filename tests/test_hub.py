"""The command line as an operator uses it: real processes, real output."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sandbox
from bench.ledgers import get
from hub import app

ROOT = Path(__file__).parents[1]


def _environment(folder: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("HUB_") and k != "DATABASE_URL"}
    return env | {"HUB_DATA": str(folder / "data"), "HUB_RETRY_SCALE": "0.01"}


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "hub.py", *words],
        cwd=ROOT,
        env=_environment(folder) | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def result(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_config(folder: Path, box: sandbox.Running) -> Path:
    wh = box.qimen["warehouses"][0]
    path = folder / "shop.toml"
    path.write_text(
        f"""
[[warehouses]]
name = "wh01"
kind = "qimen"
[warehouses.settings]
base_url = "{box.qimen["url"]}"
app_key = "{box.qimen["app_key"]}"
secret = "env:WMS_SECRET"
customer_id = "{box.qimen["customer_id"]}"
owner_code = "{box.qimen["owner_code"]}"
warehouse_code = "{wh["code"]}"
allow_private = true
sender = {{ name = "shop", mobile = "13800000000", province = "浙江省", city = "杭州市", address = "1" }}
[warehouses.info]
country = "CN"

[[accounts]]
name = "tb-one"
channel = "taobao"
[accounts.settings]
base_url = "{box.taobao["url"]}"
app_key = "{box.taobao["app_key"]}"
app_secret = "{box.taobao["app_secret"]}"
session = "{box.taobao["session"]}"
window_minutes = 1440
calls_per_second = 1000
allow_private = true
""",
        encoding="utf-8",
    )
    return path


def test_help_lists_every_command(tmp_path: Path) -> None:
    text = run(tmp_path, "--help").stdout
    for name in ("apply", "check", "serve", "sync", "work", "orders", "exceptions", "demo"):
        assert name in text


def test_applies_checks_reads_works_and_lists(tmp_path: Path) -> None:
    with sandbox.start(seed=5, mix="plain", orders=4) as box:
        config, secret = write_config(tmp_path, box), {"WMS_SECRET": box.qimen["secret"]}
        assert result(run(tmp_path, "apply", str(config), "--json", **secret)) == {"warehouses": 1, "accounts": 1}
        assert result(run(tmp_path, "apply", str(config), "--json", **secret)) == {}
        assert set(result(run(tmp_path, "check", "--json")).values()) == {"ok"}
        read = result(run(tmp_path, "sync", "tb-one", "--once", "--json"))
        assert read["new_documents"] == read["absorbed"] > 0
        orders = result(run(tmp_path, "orders", "--json"))
        assert len(orders["rows"]) == read["absorbed"]
        number = orders["rows"][0]["number"]
        why = result(run(tmp_path, "orders", "explain", number, "--instead", "release", "--json"))
        assert (why["reproduced"], why["instead"]["held"]) == (True, False)
        assert "why not release" in run(tmp_path, "orders", "explain", number, "--instead", "release").stdout
        codes = {row["code"] for row in result(run(tmp_path, "exceptions", "--json"))["rows"]}
        assert codes == {"sku_unmapped"}
        listings = tmp_path / "listings.csv"
        rows = ["account,external_sku,sku"]
        rows += [f"tb-one,{row['taobao']['outer_sku_id']},{row['sku']}" for row in _catalog(box)]
        listings.write_text("\n".join(rows), encoding="utf-8")
        assert result(run(tmp_path, "apply", str(listings), "--json"))["listings"] > 0
        assert "absorb" in result(run(tmp_path, "work", "--once", "--json"))


def _catalog(box: sandbox.Running) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = get(box, "catalog")["rows"]
    return rows


def test_a_wrong_secret_is_named_by_check(tmp_path: Path) -> None:
    with sandbox.start(seed=5, mix="plain") as box:
        config = write_config(tmp_path, box)
        result(run(tmp_path, "apply", str(config), "--json", WMS_SECRET="not-the-secret"))
        done = run(tmp_path, "check", "--json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert told["account:tb-one"] == "ok"
        assert told["warehouse:wh01"] != "ok"
        assert "not-the-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense = [", "config_file"),
        ("[unknown]\na = 1", "no such section: unknown"),
        ('[[accounts]]\nname = "a"\nchannel = "nowhere"', "there is no channel nowhere"),
        ('[[accounts]]\nname = "a"\nchannel = "taobao"\n[accounts.settings]\napp_key = "x"', "accounts.a"),
        ('[[keys]]\nname = "k"\nkey = "env:NOT_THERE"', "the environment has no NOT_THERE"),
    ],
)
def test_bad_configuration_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    done = run(tmp_path, "apply", str(path))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


KEYS = {"li": "key-of-li-0123456789abcdef", "wang": "key-of-wang-0123456789abcdef"}


def call_as(who: str, *words: str) -> Any:
    return CliRunner().invoke(app, words, env={"HUB_STAFF_KEY": KEYS.get(who, "")})


def told_by(who: str, *words: str) -> Any:
    """What a command of the rules answers."""
    done = call_as(who, "rules", *words, "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def hire(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of its own with two clerks."""
    listed = "".join(f'[[keys]]\nname = "{name}"\nscope = "clerk"\nkey = "{key}"\n' for name, key in KEYS.items())
    (folder / "keys.toml").write_text(listed)
    monkeypatch.setenv("HUB_DATA", str(folder / "data"))
    assert call_as("", "apply", str(folder / "keys.toml")).exit_code == 0


def test_rules_live_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hire(tmp_path, monkeypatch)
    (tmp_path / "rules.json").write_text(json.dumps({"version": "v1", "rules": []}))

    def call(*words: str, who: str = "") -> Any:
        return call_as(who, *words)

    def rules(*words: str, who: str = "li") -> Any:
        return told_by(who, *words)

    assert rules("draft", str(tmp_path / "rules.json"))["state"] == "validated"
    assert rules("validate", "v1")["state"] == "validated"
    assert rules("replay", "v1", "--last", "10")["orders"] == 0
    assert "second_person" in str(call("rules", "approve", "v1", who="li").exception)
    assert rules("approve", "v1", who="wang")["approver"] == "key:wang"
    assert rules("arm", "v1", "--at", "2100-01-01T00:00:00+08:00")["in_force"] is False
    (tmp_path / "export.json").write_text(json.dumps(rules("export", "v1")))
    assert rules("retire", "v1", "--reason", "not needed", who="wang")["state"] == "retired"
    assert "ruleset_version" in str(call("rules", "import", str(tmp_path / "export.json"), who="wang").exception)
    assert [row["version"] for row in rules("list")] == [rules("show", "v1")["version"]]
    assert "HUB_STAFF_KEY" in str(call("rules", "rollback").exception)


def test_a_table_of_rules_goes_through_files_and_the_library_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hire(tmp_path, monkeypatch)
    rules = partial(told_by, "li")
    names = [row["name"] for row in rules("library")]
    assert "e-commerce" in names
    file, document = tmp_path / "route.xlsx", tmp_path / "start.json"
    document.write_text(call_as("", "rules", "library", "cross-border").stdout)
    version = rules("draft", str(document))["version"]
    assert rules("table", "export", version, str(file), "--phase", "route")["bytes"] == file.stat().st_size
    assert rules("table", "export", version, str(tmp_path / "t"), "--phase", "tag", "--format", "csv")["bytes"] > 3
    row = rules("table", "import", version, str(file), "--phase", "route", "--as", "mine")
    assert (row["version"], row["state"]) == ("mine", "validated")
    assert json.loads(row["document"])["rules"] == json.loads(document.read_text())["rules"]


def test_a_worker_that_is_told_to_end_again_and_again_ends(tmp_path: Path) -> None:
    workers = []
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "hub.py", "work"]
        workers.append(subprocess.Popen(command, cwd=ROOT, env=_environment(folder), stderr=subprocess.DEVNULL))
    try:
        for worker in workers:
            while not _hears_sigterm(worker.pid):
                assert worker.poll() is None
                time.sleep(0.05)
        time.sleep(1.0)  # until it waits
        for worker in workers:
            for _ in range(300):
                worker.send_signal(signal.SIGTERM)
        for worker in workers:
            # One that comes when the interpreter has given up its handlers ends it by itself.
            assert worker.wait(30) in {0, -signal.SIGTERM}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _hears_sigterm(pid: int) -> bool:
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
