"""A wrong setting told by its name, what it was given and what there is instead."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser

from mayhem_ros.errors import MayhemError
from mayhem_train.training.loggers import NEEDS_WANDB

_NO_SETTING = re.compile(
    r"unrecognized arguments: --(?P<argument>[\w.]+)"
    r"|Group '(?P<group>[\w.]+)' does not accept option '(?P<of_group>[\w.]+)'"
    r"|Option '(?P<option>[\w.]+)' is not accepted"
)
_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}
_KINDS |= {"dict": "names with values, as '{a: 1, b: 2}'", "tuple": "a list, as [1, 2]", "list": "a list, as [1, 2]"}


def told(error: BaseException, parser: ArgumentParser | None) -> str:
    """What is wrong, without a full stop.

    Args:
        error: of the parser, or of what the parser builds.
        parser: knows the settings; None where it has not been made yet.
    """
    reason: BaseException | None = error
    while reason is not None:  # what this software itself says of a value stands beneath "no type fits"
        if isinstance(reason, MayhemError):
            return str(reason).rstrip(".")
        reason = reason.__cause__
    said = str(error)
    setting = ".".join(re.findall(r'Parser key "([^"]+)"', said))
    unknown = _NO_SETTING.search(said)
    if unknown:
        return _no_setting(setting, unknown, said, parser)
    if not setting and (needed := re.search(r"arguments are required: ([\w., ]+)", said)):
        return f"{', '.join(f'--{name}' for name in needed[1].split(', '))} must be given"
    if "WandbLogger" in said and importlib.util.find_spec("wandb") is None:
        return f"WandbLogger {NEEDS_WANDB}"
    given = re.search(r"(?:Got value|Given value): (.*)", said)
    if not setting or given is None:
        return " ".join(line.strip() for line in said.splitlines()[:4] if line.strip()).rstrip(".")
    if incomplete := re.match(r"Namespace\(class_path='([^']+)', init_args=Namespace\((.*)\)\)$", given[1]):
        missing = [name for name in _required_arguments(incomplete[1]) if f"{name}=None" in incomplete[2]]
        if missing:
            return f"{incomplete[1]} needs {', '.join(missing)}: set --{setting}.{missing[0]}"
    hint = _typehint(parser, setting)
    if choices := list(_choices(hint)):
        return f"--{setting} is {given[1]!r}: {_among(given[1], choices)}"
    if wanted := re.search(r"Expected a dot import path string: (.*)", said):
        return f"--{setting} names no class {wanted[1]!r}: {_among(wanted[1], _class_names(hint))}"
    kinds = dict.fromkeys(re.findall(r"Expected (?:a )?<class '(\w+)'>", said))
    names = [_KINDS[kind] for kind in kinds if kind in _KINDS]
    return f"--{setting} is {given[1]}: give {' or '.join(dict.fromkeys(names)) or 'another value'}"


def _no_setting(setting: str, unknown: re.Match[str], said: str, parser: ArgumentParser | None) -> str:
    """A setting that there is not, with those beside it."""
    owner = re.findall(r"Problem with given class_path '([^']+)'", said)
    if unknown["option"] and setting and owner:  # an argument of a class
        option, path = unknown["option"], owner[0]
        return f"There is no setting {option!r} of {path}: {_among(option, _arguments(path))}"
    name = unknown["argument"] or unknown["option"] or f"{unknown['group']}.{unknown['of_group']}"
    known = [] if parser is None else _settings(parser)
    beside = [other for other in known if other.rpartition(".")[0] == name.rpartition(".")[0]]
    if "." not in name:
        beside += dict.fromkeys(
            f"{group}.SETTING" for group, dot, _ in (other.partition(".") for other in known) if dot
        )
    if beside:
        return f"There is no setting {name!r}: {_among(name, beside)}"
    nearest = difflib.get_close_matches(name, known, 1)
    return f"There is no setting {name!r}" + (f": did you mean {nearest[0]}?" if nearest else "")


def _settings(parser: ArgumentParser) -> list[str]:
    """The dotted names that can be given."""
    options = [action for action in parser._actions if action.option_strings and type(action).__name__ != "ActionLink"]
    groups = {action.dest for action in options if type(action).__name__ == "_ActionConfigLoad"}
    flags = {"help", "print_config", "print_shtab"}
    return [a.dest for a in options if a.dest not in groups | flags and not a.dest.endswith(".help")]


def _typehint(parser: ArgumentParser | None, setting: str) -> Any:
    actions = () if parser is None else parser._actions
    return next((getattr(a, "_typehint", None) for a in actions if a.dest == setting), None)


def _choices(hint: Any) -> Iterator[str]:
    """The values of a type that has only some."""
    if get_origin(hint) is Literal:
        yield from map(str, get_args(hint))
    elif get_origin(hint) is not None and any(get_origin(part) is Literal for part in get_args(hint)):
        found = [choice for part in get_args(hint) if part is not NoneType for choice in _choices(part)]
        yield from dict.fromkeys(found)


def _class_names(hint: Any) -> list[str]:
    """The classes that can stand where the type is asked for, by their last names."""
    wanted = [hint] if isinstance(hint, type) else []
    for part in get_args(hint):
        wanted += [part] if isinstance(part, type) else [inner for inner in get_args(part) if isinstance(inner, type)]
    names: dict[str, None] = {}
    while wanted:
        found = wanted.pop()
        if found.__module__ != "builtins" and not inspect.isabstract(found) and not found.__name__.startswith("_"):
            names[found.__name__] = None
        wanted += type.__subclasses__(found) if found.__module__ != "builtins" else []
    return sorted(names)


def _arguments(class_path: str) -> list[str]:
    return [parameter.name for parameter in _parameters(class_path)]


def _required_arguments(class_path: str) -> list[str]:
    return [parameter.name for parameter in _parameters(class_path) if parameter.default is parameter.empty]


def _parameters(class_path: str) -> list[inspect.Parameter]:
    module, _, name = class_path.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    return [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _among(name: str, names: Sequence[str]) -> str:
    """The nearest and the whole list, where it is one that can be read."""
    nearest = difflib.get_close_matches(name, names, 1, 0.4)
    listed = f"There are {', '.join(names)}" if len(names) <= 60 else "Name one by its class path"
    return f"did you mean {nearest[0]}? {listed}" if nearest else listed[0].lower() + listed[1:]
