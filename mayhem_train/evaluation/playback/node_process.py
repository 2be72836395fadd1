"""The perception node as a process of its own: started, watched, and stopped whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import yaml

import mayhem_ros
from mayhem_ros.errors import MayhemError
from mayhem_train.evaluation.playback.dds_settings import PROFILE_VARIABLES

NODE_NAME = "perception"
_ROS_LOG_LINE = re.compile(r"^\[(?P<level>[A-Z]+)\] \[[\d.]+\] \[[^\]]*\]: (?P<text>.*)$")


class NodeProcess:
    """Runs this very package's `mayhem_ros.perception_node` from entering the `with` block until leaving it.

    Args:
        parameters: the node's parameters; they travel in a file, so that no value is taken for another type.
        environment: the process's environment variables.
        folder: an existing folder for the parameter file and the node's output, `node.log`.
    """

    def __init__(self, parameters: Mapping[str, object], environment: Mapping[str, str], folder: Path) -> None:
        self._parameters = parameters
        self._environment = environment
        self._folder = folder.resolve()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        parameter_file = self._folder / "parameters.yaml"
        parameter_file.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(self._parameters)}}))
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches this process alone, which then stops the node.
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "mayhem_ros.perception_node",
                    "--ros-args",
                    "--params-file",
                    str(parameter_file),
                    "-r",
                    f"__node:={NODE_NAME}",
                ],
                # `python -m` looks in the working folder first, where another checkout's node might stand.
                cwd=self._folder,
                env=_environment_elsewhere(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        try:
            for request, patience in ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0)):
                self._request_end(request, patience)
        finally:  # even when another Ctrl-C cuts the patience short
            self._request_end(signal.SIGKILL, 5.0)

    @property
    def log(self) -> Path:
        """Where the node's output goes."""
        return self._folder / "node.log"

    def refuse_death(self, when: str) -> None:
        """Raises MayhemError with the node's own reason when its process has ended; `when` says how far it came."""
        if self._process is None or self._process.poll() is None:
            return
        code = self._process.returncode
        ending = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise MayhemError(f"The perception node ended {when} ({ending}){self.reason()}")

    def reason(self) -> str:
        """The last error that the node logged, as the end of a sentence."""
        reason = last_error(self.log.read_text(errors="replace"))
        return f": {reason}" if reason else "."

    def _request_end(self, request: signal.Signals, patience: float) -> None:
        """Sends a running node and whatever it started a signal, then waits for its end, `patience` seconds at most."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, request)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)


def last_error(log: str) -> str:
    """The last error in a node's output, else its last line, without the logger's prefix; empty of an empty log."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [m["text"] for line in lines if (m := _ROS_LOG_LINE.match(line)) and m["level"] in ("ERROR", "FATAL")]
    if errors:
        return errors[-1]
    if not lines:
        return ""
    match = _ROS_LOG_LINE.match(lines[-1])
    return match["text"] if match else lines[-1]


def _environment_elsewhere(environment: Mapping[str, str]) -> dict[str, str]:
    """The node's environment for another working folder: our own mayhem_ros first, the user's paths absolute."""
    found = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    python_path = [str(Path(mayhem_ros.__file__).resolve().parents[1]), *(str(Path(path).absolute()) for path in found)]
    profiles = {name: str(Path(environment[name]).absolute()) for name in PROFILE_VARIABLES if environment.get(name)}
    return {**environment, **profiles, "PYTHONPATH": os.pathsep.join(python_path), "PYTHONUNBUFFERED": "1"}
