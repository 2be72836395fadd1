"""A ROS domain of one's own on this machine, so that a replay never speaks to a robot or to another replay."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError

DOMAINS = range(1, 102)
"""Domain ids whose ports lie outside Linux's ephemeral range; 0 is everybody's default and never taken."""

_LEADS_ELSEWHERE = (
    "ROS_DISCOVERY_SERVER",
    "ROS_SUPER_CLIENT",
    "ROS_STATIC_PEERS",
    "ROS_NAMESPACE",
    "RCUTILS_CONSOLE_OUTPUT_FORMAT",
)


@contextmanager
def private_domain(wanted: int | None = None) -> Iterator[int]:
    """Holds a domain id that no other replay on this machine holds and that the user's environment does not name.

    Args:
        wanted: take this very id instead of choosing one.

    Raises:
        UsageError: `wanted` is no domain id.
        MayhemError: `wanted`, or every id, is held by other replays.
    """
    if wanted is not None and not 0 <= wanted <= 232:
        raise UsageError(f"The domain id {wanted} is none: choose one from 0 to 232.")
    candidates = [wanted] if wanted is not None else [d for d in DOMAINS if str(d) != os.environ.get("ROS_DOMAIN_ID")]
    random.shuffle(candidates)
    for domain in candidates:
        lock = _lock(domain)
        if lock is None:
            continue
        try:
            yield domain
        finally:
            lock.close()
        return
    raise MayhemError(
        f"The ROS domain {wanted} is held by another replay on this machine: wait for it or choose another."
        if wanted is not None
        else "Every ROS domain from 1 to 101 is held by other replays on this machine: wait for one of them."
    )


def private_environment(domain: int, log_folder: Path) -> dict[str, str]:
    """The environment variables of a process that speaks on `domain` and to this machine only."""
    environment = {name: value for name, value in os.environ.items() if name not in _LEADS_ELSEWHERE}
    environment |= {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(log_folder),
        "RCUTILS_COLORIZED_OUTPUT": "0",
    }
    # Humble knows only the older variable, and later releases let it overrule the newer one.
    if environment.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"
    else:
        environment.pop("ROS_LOCALHOST_ONLY", None)
    return environment


@contextmanager
def environment_variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Makes these the process's environment variables for the block; ROS reads them when a context is made."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _lock(domain: int) -> socket.socket | None:
    """A socket that holds the domain, or None where another replay, of whatever user, holds it.

    Its name is abstract: it is the machine's, no file stands for it, and the system lets go of it at exit.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0mayhem-replay-domain-{domain}")
    except OSError as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise MayhemError(
            f"Cannot hold the ROS domain {domain} ({error.strerror}): allow this process Unix sockets."
        ) from error
    return lock
