"""The errors a user can mend: one sentence each, shown without a traceback."""


class MayhemError(Exception):
    """What was found, where, and what to do about it, in one sentence. The command ends with exit code 1."""

    exit_code = 1


class UsageError(MayhemError):
    """The command line or a configuration asks for something that does not exist. Exit code 2."""

    exit_code = 2
