"""Messages out of bytes, by the definitions a recording carries or else by those of a ROS distribution."""

from __future__ import annotations

from functools import cache
from typing import Any

from rosbags.convert.converter import is_same_wireformat, migrate_bytes
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.storage import Connection

HEADER = "std_msgs/msg/Header"


class MessageTypes:
    """Deserialises messages and converts those of ROS 1. Pickles without what it has generated."""

    def __init__(self) -> None:
        self._typestores: dict[Connection, Typestore] = {}
        self._migrations: dict[str, object] = {}

    def deserialise(self, connection: Connection, data: bytes) -> Any:
        """The message as an object with the type's fields; arrays are views of `data`.

        Raises:
            MayhemError: the type is not known, or the bytes are no such message.
        """
        typestore = self._typestore(connection)
        try:
            if connection.encoding == "ros1":
                return typestore.deserialize_ros1(memoryview(data), connection.type)
            return typestore.deserialize_cdr(memoryview(data), connection.type)
        except _DAMAGED as error:
            raise _no_such_message(connection, error) from error

    def to_cdr(self, connection: Connection, data: bytes) -> bytes:
        """The message as ROS 2 serialises it; one of ROS 1 in ROS 2's layout of that type, where ROS 2 has the type.

        Raises:
            MayhemError: as for `deserialise`, of a ROS 1 message.
        """
        if connection.encoding == "cdr":
            return data
        source, target, name = self._typestore(connection), _ros2_types(), connection.type
        try:
            if name not in target.fielddefs:
                return bytes(_with_ros2_header(source).ros1_to_cdr(data, name))
            if is_same_wireformat(source, target, name, name):
                return bytes(target.ros1_to_cdr(data, name))
            migrated = migrate_bytes(source, target, name, name, self._migrations, data, src_is2=False, dst_is2=True)
            return bytes(migrated)
        except _DAMAGED as error:
            raise _no_such_message(connection, error) from error

    def has_header(self, connection: Connection) -> bool:
        """Whether the type is known and begins with a std_msgs/Header."""
        try:
            fields = self._typestore(connection).fielddefs[connection.type][1]
        except MayhemError:
            return False
        return bool(fields) and fields[0][1] == (Nodetype.NAME, HEADER)

    def _typestore(self, connection: Connection) -> Typestore:
        if connection not in self._typestores:
            self._typestores[connection] = _typestore(connection)
        return self._typestores[connection]

    def __getstate__(self) -> dict[str, Any]:
        return {"_typestores": {}, "_migrations": {}}


_DAMAGED = (SerdeError, ValueError, IndexError, AssertionError)


def _no_such_message(connection: Connection, error: Exception) -> MayhemError:
    return MayhemError(
        f"A message on {connection.topic} is no {connection.type} ({type(error).__name__}: {error}): "
        "it is damaged, or was recorded with another definition of the type."
    )


def _typestore(connection: Connection) -> Typestore:
    """The recording's definitions, completed from the distribution's."""
    if connection.encoding not in ("cdr", "ros1"):
        raise MayhemError(
            f"Messages on {connection.topic} are serialised as {connection.encoding!r}: only CDR and ROS 1 can be read."
        )
    default = _ros1_types() if connection.encoding == "ros1" else _ros2_types()
    typestore = get_typestore(Stores.EMPTY)
    try:
        if connection.definition_format in ("ros2msg", "ros1msg"):
            typestore.register(get_types_from_msg(connection.definition, connection.type))
        elif connection.definition_format in ("ros2idl", "omgidl"):
            for part in _idl_parts(connection.definition):
                typestore.register(get_types_from_idl(part))
    except (TypesysError, SyntaxError, KeyError, ValueError) as error:
        raise MayhemError(
            f"The definition of {connection.type} that comes with {connection.topic} cannot be read ({error})."
        ) from error
    typestore.fielddefs = {**default.fielddefs, **typestore.fielddefs}
    typestore.types = {**default.types, **typestore.types}
    if connection.type not in typestore.fielddefs:
        raise MayhemError(
            f"The type {connection.type} of {connection.topic} is unknown and the recording has no definition of it: "
            "record it again with a rosbag2 that stores definitions (Iron or newer)."
        )
    try:
        typestore.get_msgdef(connection.type)
    except KeyError as error:
        raise MayhemError(
            f"The definition of {connection.type} that comes with {connection.topic} lacks that of {error}."
        ) from error
    return typestore


def _idl_parts(text: str) -> list[str]:
    """rosbag2 joins the IDL files of a type and its parts with a line of `=` and `IDL: <name>`."""
    separator = "=" * 80 + "\n"
    if not text.startswith(f"{separator}IDL: "):
        return [text]
    return [part.partition("\n")[2] for part in text.split(separator)[1:]]


def _with_ros2_header(source: Typestore) -> Typestore:
    """The same types, but the header without ROS 1's `seq`."""
    typestore = get_typestore(Stores.EMPTY)
    typestore.fielddefs = {**source.fielddefs, HEADER: _ros2_types().fielddefs[HEADER]}
    typestore.types = {**source.types, HEADER: _ros2_types().types[HEADER]}
    return typestore


@cache
def _ros2_types() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


@cache
def _ros1_types() -> Typestore:
    return get_typestore(Stores.ROS1_NOETIC)
