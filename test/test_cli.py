"""The command line: every verb explains itself, and whatever a user gets wrong is one sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train import cli
from mayhem_train.commands.verbs import VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"mayhem {verb} " in capsys.readouterr().out.split("example:")[1]


def test_an_unknown_verb_names_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fly"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert all(verb in error for verb in VERBS)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (MayhemError("It broke."), 1, "mayhem inspect: It broke.\n"),
        (UsageError("Not so."), 2, "mayhem inspect: Not so.\n"),
        (KeyboardInterrupt(), 130, "mayhem inspect: interrupted\n"),
        (
            ModuleNotFoundError("No module named 'rosbags'", name="rosbags"),
            1,
            "mayhem inspect: the Python package rosbags is missing: install what the training needs (README.md).\n",
        ),
    ],
)
def test_errors_become_one_sentence_and_an_exit_code(monkeypatch, capsys, error, code, sentence):
    def fail(_verb, _argv):
        raise error

    monkeypatch.setattr(cli, "run_verb", fail)
    assert cli.main(["inspect", "x"]) == code
    assert capsys.readouterr().err == sentence


def test_help_needs_no_heavy_library():
    code = (
        "import sys; from mayhem_train import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'rosbags', 'cv2', 'rclpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
