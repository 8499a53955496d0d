"""The environment is built with the fastest interpreter that is here, and never with a wrong one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.interpreter import MARGIN, candidates, choose, time_of

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
ROOT = Path(__file__).parents[2]


def test_a_clearly_faster_build_is_taken() -> None:
    assert choose({"own": 1.0, "distribution": 0.8, "other": 0.85}, "own") == "distribution"


def test_a_difference_of_chance_changes_nothing() -> None:
    assert choose({"own": 1.0, "other": MARGIN + 0.01}, "own") == "own"


def test_whoever_asks_is_taken_when_nobody_can_be_timed() -> None:
    assert choose({}, "own") == "own"


def test_another_version_and_what_is_no_python_are_left_out(tmp_path: Path) -> None:
    program = tmp_path / f"python{VERSION}"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert time_of(str(program), VERSION) is None
    assert time_of(str(tmp_path / "nothing"), VERSION) is None
    assert time_of(sys.executable, "2.7") is None
    assert time_of(sys.executable, VERSION) is not None


def test_a_program_under_two_names_is_timed_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / f"python{VERSION}").symlink_to(Path(sys.executable).resolve())
    assert len([each for each in candidates(VERSION, [str(first), str(second)]) if str(tmp_path) in each]) == 1


def test_the_answer_is_one_program_of_the_same_version_and_needs_no_package() -> None:
    own = str(getattr(sys, "_base_executable", "") or sys.executable)
    script = [own, "-I", "-S", str(ROOT / "bench" / "interpreter.py")]
    (told,) = subprocess.run(script, capture_output=True, check=True, text=True, timeout=120).stdout.splitlines()
    assert time_of(told, VERSION) is not None
