"""The node's process ends with exit code 0 on SIGINT and SIGTERM, whenever they come and however often."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from robot_peer import PATIENCE, ROOT, ended, run_script, start_node
from robot_small_model import save_model

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENTRIES = {
    "module": "import runpy, sys; sys.argv = ['perception_node']\n"
    "runpy.run_module('mayhem_ros.perception_node', run_name='__main__')",
    "executable": "import runpy, sys; sys.argv = ['perception_node']\n"
    f"runpy.run_path({str(ROOT / 'executables' / 'mayhem_ros' / 'perception_node')!r}, run_name='__main__')",
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_signal_during_the_imports(tmp_path: Path, entry: str, number: signal.Signals) -> None:
    # The first library that is imported sends the signal.
    (tmp_path / "numpy.py").write_text(f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(60)\n")
    ended(run_script(ENTRIES[entry], PYTHONPATH=str(tmp_path)))


def test_a_signal_while_a_model_is_being_loaded_that_takes_its_time() -> None:
    script = (
        "import os, signal, sys, time; from mayhem_ros import perception_node\n"
        "def load(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(600)\n"
        "perception_node.OnnxModel = load\n"
        "sys.exit(perception_node.main(['--ros-args', '-p', 'autostart:=true', '-p', 'model_path:=m.onnx']))"
    )
    ended(run_script(script))


def test_a_pass_that_takes_its_time_does_not_hold_up_the_end() -> None:
    script = (
        "import os, signal, sys, threading, time; from mayhem_ros import perception_node\n"
        "perception_node.PerceptionNode.destroy_node = lambda self: time.sleep(600)\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "sys.exit(perception_node.main([]))"
    )
    ended(run_script(script))


def test_what_nobody_foresaw_has_an_exit_code_of_its_own_and_is_told() -> None:
    script = (
        "import sys; from mayhem_ros import perception_node\n"
        "def spin(executor): raise RuntimeError('out of luck')\n"
        "perception_node.SingleThreadedExecutor.spin = spin\n"
        "sys.exit(perception_node.main([]))"
    )
    process = run_script(script)
    output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "RuntimeError: out of luck" in output) == (3, True)


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_two_signals_within_the_second(tmp_path: Path, pause: float) -> None:
    process = start_node(model_path=save_model(tmp_path / "m.onnx"), autostart="true")
    assert process.stdout is not None
    assert "runs on" in process.stdout.readline()
    for _ in range(2):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(pause)
    ended(process)


def test_a_signal_that_interrupts_the_answer_to_another_does_not_lock_the_process() -> None:
    script = (
        "import os, signal, sys, threading; from mayhem_ros import perception_node\n"
        "def flood():\n"
        "    for _ in range(2000): os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(0.5, flood).start()\n"
        "sys.exit(perception_node.main([]))"
    )
    ended(run_script(script))


def test_signals_after_the_end_are_ignored_and_the_exit_code_stays() -> None:
    script = (
        "import os, signal, sys; from mayhem_ros.perception_node import main\n"
        "code = main(['--ros-args', '-p', 'threads:=many'])\n"
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM)\n"
        "print([str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)])\n"
        "sys.exit(code)"
    )
    process = run_script(script)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    # What Python leaves ignored while it ends; a handler of its own it would take away first.
    assert output.splitlines()[-1] == str([str(signal.SIG_IGN)] * 2)
