"""Functions that numba compiles when they are first called, and keeps for the next process where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """numba's njit with these options; the result is stored beside the module or in the user's cache folder."""

    def compile_when_called(function: Function) -> Function:
        try:
            return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return, unused-ignore]
        except RuntimeError:  # neither folder can be written, as of a package that was installed for a robot's service
            return numba.njit(**options)(function)  # type: ignore[no-any-return, unused-ignore]

    return compile_when_called
