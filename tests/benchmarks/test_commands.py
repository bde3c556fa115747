"""What a program took is all that its processes took; what it did wrong, it says."""

from __future__ import annotations

import os
import sys
import time

import pytest

from benchmarks.measure.commands import Failed, last_words, run, said
from benchmarks.measure.timing import memory

PYTHON = (sys.executable, "-c")
HELD = 80_000_000
HOLDS = f"import time; held = b'x' * {HELD}; time.sleep(1)"


def test_a_program_prints() -> None:
    ran = run([*PYTHON, "print('done')"])
    assert ran.printed == "done\n"
    assert 0 < ran.seconds < 30


def test_it_imports_this_project() -> None:
    assert said([*PYTHON, "import benchmarks; print(benchmarks.__name__)"]) == "benchmarks\n"


def test_it_fails_in_its_own_last_words() -> None:
    with pytest.raises(Failed, match="^ValueError: so it is$"):
        run([*PYTHON, "raise ValueError('so it is')"])


def test_it_fails_without_words() -> None:
    with pytest.raises(Failed, match="^exit 3$"):
        run([*PYTHON, "import sys; sys.exit(3)"])


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(Failed, match="no-such-program"):
        run(["no-such-program"])


def test_too_long_ends_it_and_all_that_it_started() -> None:
    child = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', 'import time; "
    before = set(memory.below(os.getpid()))
    start = time.perf_counter()
    with pytest.raises(Failed, match="not done after 1 s"):
        run([*PYTHON, child + "time.sleep(60)'])"], most=1)
    assert time.perf_counter() - start < 30
    assert set(memory.below(os.getpid())) <= before


def test_memory_is_that_of_all_its_processes_together() -> None:
    child = f"import subprocess; p = subprocess.Popen([{sys.executable!r}, '-c', {HOLDS!r}]); "
    assert HELD < run([*PYTHON, HOLDS]).memory < 2 * HELD
    assert run([*PYTHON, child + HOLDS + "; p.wait()"]).memory > 2 * HELD


def test_processes_one_after_another_do_not_add_up() -> None:
    child = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {HOLDS!r}]); "
    assert run([*PYTHON, child + HOLDS]).memory < 2 * HELD


def test_a_process_that_a_thread_started_is_found() -> None:
    code = (
        "import subprocess, sys, threading\n"
        "start = lambda: subprocess.run([sys.executable, '-c', 'import time; time.sleep(1)'])\n"
        "thread = threading.Thread(target=start)\n"
        "thread.start()\n"
        "import os, time\n"
        "time.sleep(0.3)\n"
        "from benchmarks.measure.timing import memory\n"
        "print(len(memory.below(os.getpid())))\n"
    )
    assert said([*PYTHON, code]) == "1\n"


def test_the_last_line_that_names_an_error_is_kept() -> None:
    assert last_words("Error: a\nValueError: b\nNode.js v20\n") == "ValueError: b"
    assert last_words("one\ntwo\n") == "two"
    assert last_words("") == ""
