"""Messages out of bytes, by the definitions a recording carries or else by those of a ROS distribution."""

from __future__ import annotations

from functools import cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.camera_makers import split_depth_unit
from mayhem_train.recordings.storages.storage import Connection
from mayhem_train.recordings.video.definitions import DEFINITIONS

HEADER = "std_msgs/msg/Header"
TIME = "builtin_interfaces/msg/Time"


class MessageTypes:
    """Deserialises messages and converts those of ROS 1. Pickles without what it has generated.

    Args:
        distro: the ROS distribution ("humble", "noetic", "ros2_humble") whose definitions stand in where a recording
            of that ROS generation has none; Jazzy and Noetic without it.

    Raises:
        UsageError: there is no such distribution.
    """

    def __init__(self, distro: str | None = None) -> None:
        self._distro = None if distro is None else _distribution(distro)
        self._typestores: dict[Connection, Typestore | MayhemError] = {}
        self._migrations: dict[str, object] = {}

    def deserialise(self, connection: Connection, data: bytes) -> Any:
        """The message as an object with the type's fields; arrays are views of `data`.

        Raises:
            MayhemError: the type is not known, or the bytes are no such message.
        """
        typestore = self._typestore(connection)
        try:
            if connection.encoding == "ros1":
                return typestore.deserialize_ros1(split_depth_unit(connection.type, data)[0], connection.type)
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
        from rosbags.convert.converter import is_same_wireformat, migrate_bytes  # a slow import that few need

        source, target, name = self._typestore(connection), _types_of(Stores.ROS2_JAZZY), connection.type
        data = bytes(split_depth_unit(name, data)[0])
        try:
            if name not in target.fielddefs:
                return bytes(_with_ros2_header(source).ros1_to_cdr(data, name))
            if is_same_wireformat(source, target, name, name):
                return bytes(target.ros1_to_cdr(data, name))
            migrated = migrate_bytes(source, target, name, name, self._migrations, data, src_is2=False, dst_is2=True)
            return bytes(migrated)
        except _DAMAGED as error:
            raise _no_such_message(connection, error) from error

    def knows(self, connection: Connection) -> bool:
        """Whether there is a definition of the connection's type that can be read."""
        try:
            self._typestore(connection)
        except MayhemError:
            return False
        return True

    def has_header(self, connection: Connection) -> bool:
        """Whether the type is known and begins with a std_msgs/Header or, as foxglove's types do, with its fields."""
        return self.has_bare_stamp(connection) or self._first_field(connection)[1] == (Nodetype.NAME, HEADER)

    def has_bare_stamp(self, connection: Connection) -> bool:
        """Whether the type is known and begins with a `timestamp`."""
        return self._first_field(connection) == ("timestamp", (Nodetype.NAME, TIME))

    def _first_field(self, connection: Connection) -> tuple[str, Any]:
        try:
            fields = self._typestore(connection).fielddefs[connection.type][1]
        except MayhemError:
            return "", None
        return fields[0] if fields else ("", None)

    def _typestore(self, connection: Connection) -> Typestore:
        if connection not in self._typestores:
            try:
                self._typestores[connection] = _typestore(connection, self._distro)
            except MayhemError as error:
                self._typestores[connection] = error
        found = self._typestores[connection]
        if isinstance(found, MayhemError):
            raise found.with_traceback(None)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"_distro": self._distro, "_typestores": {}, "_migrations": {}}


_DAMAGED = (SerdeError, ValueError, IndexError, AssertionError)


def _no_such_message(connection: Connection, error: Exception) -> MayhemError:
    remedy = "" if connection.definition else "; the recording has none, so name its ROS distribution with --distro"
    return MayhemError(
        f"A message on {connection.topic} is no {connection.type} ({type(error).__name__}: {error}): "
        f"it is damaged, or was recorded with another definition of the type{remedy}."
    )


def _distribution(name: str) -> Stores:
    """The definitions of a distribution, named with or without its ROS generation."""
    known = {store.value: store for store in Stores if store.value.startswith(("ros1_", "ros2_"))}
    known.update({value.partition("_")[2]: store for value, store in known.items()})
    store = known.get(name.strip().lower())
    if store is None:
        names = ", ".join(value for value in known if not value.startswith(("ros1_", "ros2_")))
        raise UsageError(f"There are no message definitions of a ROS distribution {name!r}: choose one of {names}.")
    return store


def _typestore(connection: Connection, distro: Stores | None) -> Typestore:
    """The recording's definitions, completed from the distribution's."""
    if connection.encoding not in ("cdr", "ros1"):
        raise MayhemError(
            f"Messages on {connection.topic} are serialised as {connection.encoding!r}: only CDR and ROS 1 can be read."
        )
    if not connection.type:
        raise MayhemError(
            f"The recording does not say of which type the messages on {connection.topic} are: they cannot be read."
        )
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
    if _is_complete(typestore, connection.type):
        return typestore
    default = _default_types(connection.encoding, distro)
    typestore.fielddefs = {**default.fielddefs, **typestore.fielddefs}
    typestore.types = {**default.types, **typestore.types}
    if connection.type in DEFINITIONS and connection.type not in typestore.fielddefs:
        typestore.register(get_types_from_msg(DEFINITIONS[connection.type], connection.type))
    if connection.type not in typestore.fielddefs:
        raise MayhemError(
            f"The type {connection.type} of {connection.topic} is unknown and the recording has no definition of it: "
            "name with --distro the ROS distribution that has it, or record with one that stores definitions "
            "(Iron or newer)."
        )
    try:
        typestore.get_msgdef(connection.type)
    except KeyError as error:
        raise MayhemError(
            f"The definition of {connection.type} that comes with {connection.topic} lacks that of {error}."
        ) from error
    return typestore


def _is_complete(typestore: Typestore, name: str) -> bool:
    """Whether the type and all its parts are defined, so that no distribution's need to be loaded."""
    try:
        typestore.get_msgdef(name)
    except KeyError:
        return False
    return True


def _idl_parts(text: str) -> list[str]:
    """rosbag2 joins the IDL files of a type and its parts with a line of `=` and `IDL: <name>`."""
    separator = "=" * 80 + "\n"
    if not text.startswith(f"{separator}IDL: "):
        return [text]
    return [part.partition("\n")[2] for part in text.split(separator)[1:]]


def _with_ros2_header(source: Typestore) -> Typestore:
    """The same types, but the header without ROS 1's `seq`."""
    typestore = get_typestore(Stores.EMPTY)
    typestore.fielddefs = {**source.fielddefs, HEADER: _types_of(Stores.ROS2_JAZZY).fielddefs[HEADER]}
    typestore.types = {**source.types, HEADER: _types_of(Stores.ROS2_JAZZY).types[HEADER]}
    return typestore


def _default_types(encoding: str, distro: Stores | None) -> Typestore:
    """Those of the distribution, unless it is of the other ROS generation."""
    ros1 = encoding == "ros1"
    if distro is not None and distro.value.startswith("ros1_") == ros1:
        return _types_of(distro)
    return _types_of(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)


@cache
def _types_of(distro: Stores) -> Typestore:
    return get_typestore(distro)
