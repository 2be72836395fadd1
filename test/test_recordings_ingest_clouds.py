"""Point clouds of every layout come back out of PCD and PLY files bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ingest_messages import cloud_message, read_pcd
from plyfile import PlyData
from recordings_writing import ROS1, ROS2, START_NS, Typestore

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.ingest.clouds import Cloud, pcd_bytes, ply_bytes, read_cloud

KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")


def recorded(points: np.ndarray, types: Typestore = ROS2, **how: object) -> Cloud:
    """The cloud after a trip through a serialised message."""
    message = cloud_message("/points", START_NS, points, **how)  # type: ignore[arg-type]
    if types is ROS1:
        data = ROS1.serialize_ros1(message.make(ROS1), message.type)
        return read_cloud(ROS1.deserialize_ros1(data, message.type))
    return read_cloud(ROS2.deserialize_cdr(message.cdr, message.type))


def every_kind(height: int, width: int, order: str = "<") -> np.ndarray:
    """A field of every type, one of three values, padding between and behind them; random bits, NaN among them."""
    layout = np.dtype(
        {
            "names": [*KINDS, "normal"],
            "formats": [*(order + kind for kind in KINDS), (order + "f4", (3,))],
            "offsets": [0, 1, 2, 6, 8, 12, 16, 24, 32],
            "itemsize": 48,
        }
    )
    points = np.zeros((height, width), layout)
    generator = np.random.default_rng(5)
    for name in points.dtype.names or ():
        values = points[name]
        size = values.dtype.itemsize * values.size
        values[...] = np.frombuffer(generator.bytes(size), values.dtype).reshape(values.shape)
    points["f4"][0, 0] = np.nan
    return points


def written(tmp_path: Path, cloud: Cloud) -> tuple[Path, Path]:
    pcd, ply = tmp_path / "cloud.pcd", tmp_path / "cloud.ply"
    pcd.write_bytes(pcd_bytes(cloud))
    ply.write_bytes(ply_bytes(cloud))
    return pcd, ply


def bits(values: np.ndarray) -> bytes:
    """In little-endian order, so that NaN with its payload compares too."""
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


@pytest.mark.parametrize("types", [ROS1, ROS2], ids=["ros1", "ros2"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize(("height", "width", "row_padding"), [(1, 50, 0), (6, 7, 0), (6, 7, 13)])
def test_every_field_comes_back_bit_for_bit(
    tmp_path: Path, types: Typestore, order: str, height: int, width: int, row_padding: int
) -> None:
    points = every_kind(height, width, order)
    cloud = recorded(points, types, row_padding=row_padding, big_endian=order == ">")
    pcd, ply = written(tmp_path, cloud)
    read, pcd_width, pcd_height = read_pcd(pcd)
    assert (pcd_width, pcd_height) == (width, height)
    vertices = PlyData.read(ply)
    assert vertices.byte_order == "<"
    assert vertices.obj_info == [f"num_cols {width}", f"num_rows {height}"]
    for name in KINDS:
        assert bits(read[name][:, 0]) == bits(points[name].reshape(-1))
        assert bits(vertices["vertex"][name]) == bits(points[name].reshape(-1))
        assert vertices["vertex"][name].dtype.str[1:] == name
    assert bits(read["normal"]) == bits(points["normal"].reshape(-1, 3))
    for k in range(3):
        assert bits(vertices["vertex"][f"normal_{k}"]) == bits(points["normal"].reshape(-1, 3)[:, k])


def test_nan_points_and_packed_colours_are_kept(tmp_path: Path) -> None:
    points = np.zeros((1, 3), [("x", "<f4"), ("rgb", "<f4")])
    points["x"] = [1, np.nan, np.inf]
    points["rgb"].view(np.uint32)[...] = [0x00FF8040, 0x7FA00001, 0xFF800001]  # signalling NaN among them
    pcd, ply = written(tmp_path, recorded(points))
    for rgb in (read_pcd(pcd)[0]["rgb"][:, 0], PlyData.read(ply)["vertex"]["rgb"]):
        assert np.ascontiguousarray(rgb).view(np.uint32).tolist() == [0x00FF8040, 0x7FA00001, 0xFF800001]
    assert read_pcd(pcd)[0]["x"][:, 0].tolist() == pytest.approx([1, np.nan, np.inf], nan_ok=True)


def test_an_empty_cloud_is_an_empty_file(tmp_path: Path) -> None:
    pcd, ply = written(tmp_path, recorded(np.zeros((1, 0), [("x", "<f4")])))
    assert len(read_pcd(pcd)[0]) == 0
    assert PlyData.read(ply)["vertex"].count == 0


def test_fields_may_overlap_and_come_in_any_order() -> None:
    layout = np.dtype({"names": ["rgb", "b"], "formats": ["<u4", "u1"], "offsets": [4, 4], "itemsize": 8})
    points = np.zeros((1, 2), layout)
    points["rgb"] = [0x11223344, 0x55667788]
    cloud = recorded(points)
    assert cloud.points["b"][:, 0].tolist() == [0x44, 0x88]
    assert [field.name for field in cloud.fields] == ["rgb", "b"]


def test_drivers_that_leave_out_row_step_or_count_are_understood() -> None:
    points = np.zeros((1, 4), [("x", "<f4"), ("y", "<f4")])
    points["y"] = [1, 2, 3, 4]
    for how in ({"row_step": 0}, {"zero_counts": True}):
        assert recorded(points, **how).points["y"][:, 0].tolist() == [1, 2, 3, 4]  # type: ignore[arg-type]


def test_names_that_a_header_cannot_hold_are_made_to_fit(tmp_path: Path) -> None:
    points = np.zeros((1, 1), [("a b", "<f4"), ("a\nproperty char evil", "<f4"), ("a_b", "<f4"), ("n", "<f4", (2,))])
    pcd, ply = written(tmp_path, recorded(points))
    assert read_pcd(pcd)[0].dtype.names == ("a_b", "a_property_char_evil", "a_b_2", "n")
    assert [p.name for p in PlyData.read(ply)["vertex"].properties] == [
        "a_b",
        "a_property_char_evil",
        "a_b_2",
        "n_0",
        "n_1",
    ]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [({"cut": 1}, "cut off"), ({"row_step": 8}, "rows of 8 bytes, too short")],
)
def test_data_that_do_not_fit_their_description_are_refused(how: dict[str, int], sentence: str) -> None:
    points = np.zeros((2, 4), [("x", "<f4"), ("y", "<f4")])
    with pytest.raises(MayhemError, match=f"4x2 cloud with point step 8 .*{sentence}"):
        recorded(points, **how)


def test_broken_fields_are_refused() -> None:
    message = cloud_message("/points", START_NS, np.zeros((1, 4), [("x", "<f4"), ("y", "<f4")])).make(ROS2)
    message.fields[1].datatype = 9
    with pytest.raises(MayhemError, match="field 'y' of the unknown datatype 9"):
        read_cloud(message)
    message.fields[1].datatype, message.fields[1].offset = 7, 5
    with pytest.raises(MayhemError, match="field 'y' that does not fit into a point"):
        read_cloud(message)
    message.fields.clear()
    with pytest.raises(MayhemError, match="no fields"):
        read_cloud(message)
