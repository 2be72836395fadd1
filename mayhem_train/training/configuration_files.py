"""The files that `--config` names: what they must be, and that the command line stands above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from mayhem_ros.errors import UsageError

_GROUPS = ("seed_everything", "trainer", "model", "data", "balancer", "panels", "out", "force", "ema", "wandb")
_OPTION = "--config"
_EXAMPLE = "config/train/lraspp-mtl.yaml"


def before_other_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments with the configuration files first, in their order: what is typed counts wherever it stands.

    Raises:
        UsageError: a file is missing or holds no settings.
    """
    files, others = [], []
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option != _OPTION:
            others.append(word)
            continue
        path = value if equals else next(words, "")
        _check(path)
        files += [_OPTION, path]
    return [*files, *others]


def _check(path: str) -> None:
    if not path:
        raise UsageError(f"--config names no file: name one such as {_EXAMPLE}.")
    try:
        settings = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise UsageError(f"There is no {path}, which --config names: name one such as {_EXAMPLE}.") from None
    except (OSError, UnicodeDecodeError):
        settings = None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise UsageError(f"{path}, which --config names, is no YAML{where}: correct it.") from error
    # A misspelt name is told by the parser, which knows them all.
    if not isinstance(settings, dict) or not any(str(name).startswith(_GROUPS) for name in settings):
        raise UsageError(f"{path}, which --config names, holds no settings of a training: name one such as {_EXAMPLE}.")
