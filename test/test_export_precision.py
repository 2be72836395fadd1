"""Lower precision: half the bytes, or integers; what it costs is measured, and boxes and masks stay in float32."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from datasets_drives import TOPIC, write_drive
from onnx import TensorProto, helper, numpy_helper
from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.prediction import Prediction
from mayhem_train.cli import main
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel
from mayhem_train.export import onnx_file, precision
from mayhem_train.export.agreement import Agreement, compare
from mayhem_train.export.calibration import RecordedFrames
from mayhem_train.export.feature_graph import feature_nodes
from mayhem_train.export.half_precision import to_half_precision
from mayhem_train.export.onnx_file import export_checkpoint
from mayhem_train.export.parity import generated_images
from mayhem_train.export.precision import Lowering, lower_precision
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.recordings.recording import Recording
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork

CHANNELS = 4
IN_FLOAT32 = {"NonMaxSuppression", "TopK", "Exp", "Softmax", "GatherElements", "Div", "Round", "ArgMax"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights tie the scores of all default boxes; varied heads tell them apart as training does."""
    torch.manual_seed(0)
    specification = NetworkSpecification("lraspp-mtl", "mobilenet_v3_large", 96, 128, ("person", "agv"), ("floor",))
    network = build_network(specification, "none").train()
    with torch.no_grad():
        for parameter in network.heads.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for _ in range(3):  # calibrates batch normalisation
            network(torch.stack([torch.from_numpy(i) for i in generated_images(4, 96, 128)]).permute(0, 3, 1, 2))
    trained = TrainedNetwork(specification, {"person": 0.5, "agv": 0.5}, {"map": 0.5}, "equal", 7, "ab" * 32, "c0ffee")
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": weights, CHECKPOINT_KEY: trained.to_dict()}, path)
    return path


@pytest.fixture(scope="module")
def files(checkpoint: Path) -> dict[str, Path]:
    """One checkpoint in each precision."""
    found = {name: checkpoint.parent / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}
    images = generated_images(6, 120, 160)
    report = export_checkpoint(
        checkpoint,
        found["fp16"],
        images=images[:2],
        lowering=Lowering("fp16", images[:2]),
        full_precision=found["fp32"],
    )
    assert report.agreement is not None and report.agreement.frames == 2
    lower_precision(found["fp32"], found["int8"], Lowering("int8", images[:2], images[2:]), shown_as=found["int8"])
    return found


@pytest.fixture
def traced_before(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes most of an export's time, and always gives the same graph."""
    monkeypatch.setattr(onnx_file, "write_onnx", lambda _network, _card, path: shutil.copyfile(files["fp32"], path))


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {v.name: v.type.tensor_type.elem_type for v in values} | {t.name: t.data_type for t in inferred.initializer}


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_inputs_and_outputs_keep_their_names_and_types(files: dict[str, Path], name: str) -> None:
    def arguments(path: Path) -> list[tuple[str, str, int]]:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [(a.name, a.type, len(a.shape)) for a in (*session.get_inputs(), *session.get_outputs())]

    assert arguments(files[name]) == arguments(files["fp32"])


@pytest.mark.parametrize("name", ["fp32", "fp16", "int8"])
def test_the_card_says_the_precision_and_otherwise_the_same(files: dict[str, Path], name: str) -> None:
    card = OnnxModel(files[name], provider="cpu").card
    assert card == replace(OnnxModel(files["fp32"], provider="cpu").card, precision=name)


@pytest.mark.parametrize(("name", "most"), [("fp16", 0.58), ("int8", 0.40)])
def test_a_lower_precision_is_a_smaller_file(files: dict[str, Path], name: str, most: float) -> None:
    assert files[name].stat().st_size < most * files["fp32"].stat().st_size


@pytest.mark.parametrize("name", ["fp16", "int8"])
@pytest.mark.parametrize("shape", [(3, 121, 77), (1, 96, 128)])
def test_any_batch_and_any_size_run_without_half_precision_kernels(
    files: dict[str, Path], name: str, shape: tuple[int, int, int]
) -> None:
    images = np.stack(generated_images(*shape))
    predictions = OnnxModel(files[name], provider="cpu").predict(images)
    expected = OnnxModel(files["fp32"], provider="cpu").predict(images)
    for prediction, reference in zip(predictions, expected, strict=True):
        assert prediction.mask.shape == shape[1:]
        assert (prediction.mask == reference.mask).mean() > (0.999 if name == "fp16" else 0.7)
        if name == "fp16":
            np.testing.assert_allclose(prediction.scores[:20], reference.scores[:20], atol=5e-3)


def test_every_convolution_is_halved_and_nothing_that_decodes_boxes_or_resizes_pixels(files: dict[str, Path]) -> None:
    model = onnx.load(files["fp16"])
    types = types_of(model)
    for node in model.graph.node:
        first = types[node.output[0]]
        if node.op_type == "Conv":
            assert {types[name] for name in node.input} == {TensorProto.FLOAT16}, node.name
        if node.op_type in IN_FLOAT32:
            assert TensorProto.FLOAT16 not in {types[name] for name in node.input if name} | {first}, node.name
    resizes = [types[node.input[0]] for node in model.graph.node if node.op_type == "Resize"]
    # the camera's image, LR-ASPP's coarse logits, which come after its last convolution, and the mask at full size
    assert resizes == [TensorProto.FLOAT] * 3


def test_integers_are_per_channel_weights_and_unsigned_activations(files: dict[str, Path]) -> None:
    model = onnx.load(files["int8"])
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {node.output[0]: node for node in model.graph.node}
    quantised = 0
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for place, node in enumerate(convolutions):
        weight = producers.get(node.input[1])
        if place < 3:  # the first ones, which hurt most
            assert weight is None
            continue
        assert weight is not None and weight.op_type == "DequantizeLinear"
        values, scales, _ = (tensors[name] for name in weight.input)
        assert values.data_type == TensorProto.INT8 and list(scales.dims) == [values.dims[0]]
        activation = producers[node.input[0]]
        assert activation.op_type == "DequantizeLinear"
        assert tensors[activation.input[2]].data_type == TensorProto.UINT8
        quantised += 1
    assert quantised == len(convolutions) - 3 > 80


def test_integers_say_nearly_what_floats_say(files: dict[str, Path]) -> None:
    images = generated_images(3, 120, 160)
    models = (OnnxModel(files["fp32"], provider="cpu"), OnnxModel(files["int8"], provider="cpu"))
    for image in images:
        reference, found = (model.predict(image[None])[0] for model in models)
        difference = np.abs(reference.mask_confidence.astype(int) - found.mask_confidence).mean()
        assert difference < 40  # of 255


def one_layer(op_type: str = "Conv", scale: float = 1.0) -> onnx.ModelProto:
    """pixels -> Div -> Conv -> Relu -> Conv -> Exp -> out, with a Shape asked of the middle."""
    weight = numpy_helper.from_array(np.full((CHANNELS, CHANNELS, 1, 1), 0.25 * scale, np.float32), "weight")
    nodes = [
        helper.make_node("Div", ["pixels", "two"], ["halves"]),
        helper.make_node(op_type, ["halves", "weight"], ["first"]),
        helper.make_node("Relu", ["first"], ["middle"]),
        helper.make_node("Shape", ["middle"], ["shape"]),
        helper.make_node("Conv", ["middle", "weight"], ["second"]),
        helper.make_node("Exp", ["second"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", CHANNELS, "H", "W"])],
        [
            helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", CHANNELS, "H", "W"]),
            helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["N", CHANNELS, "H", "W"]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [4]),
        ],
        [weight, numpy_helper.from_array(np.array(2.0, np.float32), "two")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_features_are_what_lies_between_convolutions() -> None:
    assert feature_nodes(one_layer().graph) == {1, 2, 4}


def test_half_precision_casts_once_where_data_enters_and_leaves_the_features() -> None:
    half = to_half_precision(one_layer())
    onnx.checker.check_model(half, full_check=True)
    assert Counter(node.op_type for node in half.graph.node) == {
        **{"Cast": 3, "Conv": 2, "Div": 1, "Relu": 1, "Shape": 1, "Exp": 1}
    }
    pixels = np.random.default_rng(0).uniform(0, 2, (2, CHANNELS, 3, 5)).astype(np.float32)
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    out, middle, shape = session.run(None, {"pixels": pixels})
    expected = np.repeat(pixels.mean(axis=1, keepdims=True) / 2, CHANNELS, axis=1)
    np.testing.assert_allclose(middle, expected, rtol=2e-3)
    np.testing.assert_allclose(out, np.exp(expected), rtol=4e-3)
    assert out.dtype == middle.dtype == np.float32 and shape.tolist() == [2, CHANNELS, 3, 5]


@pytest.mark.parametrize("scale", [1e6, float("nan")])
def test_a_weight_that_half_precision_cannot_hold_is_named(scale: float) -> None:
    with pytest.raises(MayhemError, match=r"The weight weight holds .*half precision ends at 65504: export with"):
        to_half_precision(one_layer(scale=scale))


class Fixed:
    """What a model file says is fixed here; everything that compares two files asks them only for this."""

    def __init__(self, files: dict[str, Path], *predictions: Prediction) -> None:
        self.card = OnnxModel(files["fp32"], provider="cpu").card  # thresholds of 0.5
        self._predictions = iter(predictions)

    def predict(self, images: np.ndarray) -> list[Prediction]:
        return [next(self._predictions) for _ in images]


def prediction(*rows: tuple[float, float, float, float, float, int], mask: int = 0) -> Prediction:
    """Rows of x1, y1, x2, y2, score, label; `mask` counts the pixels of 100 that are floor."""
    values = np.array(rows, np.float32).reshape(-1, 6)
    surface = np.zeros(100, np.uint8)
    surface[:mask] = 1
    return Prediction(values[:, :4], values[:, 4], values[:, 5].astype(np.int64), surface.reshape(10, 10))


def test_agreement_counts_the_published_boxes_of_both_and_matches_within_a_class(files: dict[str, Path]) -> None:
    reference = Fixed(
        files,
        prediction((0, 0, 10, 10, 0.9, 1), (20, 0, 30, 10, 0.8, 1), (0, 20, 10, 30, 0.7, 2), (0, 0, 9, 9, 0.4, 1)),
        prediction(mask=50),
    )
    other = Fixed(
        files,
        prediction((0, 0, 10, 12, 0.8, 1), (20, 0, 30, 10, 0.49, 1), (0, 20, 10, 30, 0.7, 1)),
        prediction(mask=40),
    )
    found = compare(reference, other, [np.zeros((10, 10, 3), np.uint8)] * 2)  # type: ignore[arg-type]
    assert (found.frames, found.boxes, found.other_boxes, found.matched) == (2, 3, 2, 1)
    assert found.detection == pytest.approx(0.4)  # one box of three against two: 2 * 1 / 5
    assert found.score_difference == pytest.approx(0.1)
    assert found.box_difference == pytest.approx(2.0)
    assert found.mask == pytest.approx(0.95)
    assert str(found) == (
        "on 2 frames 40.00% of the boxes agree (3 against 2), scores 1.0e-01 and corners 2.00 pixels apart, "
        "95.000% of the mask is equal"
    )


def test_a_box_is_matched_once_and_no_box_at_all_is_no_figure(files: dict[str, Path]) -> None:
    twice = prediction((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 10, 0.8, 1))
    once = prediction((0, 0, 10, 10, 0.9, 1))
    image = [np.zeros((10, 10, 3), np.uint8)]
    assert compare(Fixed(files, twice), Fixed(files, once), image).matched == 1  # type: ignore[arg-type]
    none = compare(Fixed(files, prediction()), Fixed(files, prediction()), image)  # type: ignore[arg-type]
    assert (none.detection, none.score_difference, none.mask) == (None, None, 1.0)


FINE = Agreement(60, 200, 201, 200, 2e-4, 0.03, 0.9999)


@pytest.mark.parametrize(
    ("found", "is_fine"),
    [
        (FINE, True),
        (replace(FINE, boxes=3, other_boxes=1, matched=1), True),  # two at the threshold are nobody's fault
        (replace(FINE, matched=190), False),
        (replace(FINE, score_difference=0.01), False),
        (replace(FINE, score_difference=float("nan")), False),
        (replace(FINE, box_difference=1.0), False),
        (replace(FINE, mask=0.99), False),
    ],
)
def test_half_precision_that_changes_too_much_is_not_written(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Agreement, is_fine: bool
) -> None:
    monkeypatch.setattr(precision, "compare", lambda *_: found)
    out = tmp_path / "half.onnx"
    if is_fine:
        assert lower_precision(files["fp32"], out, Lowering("fp16", []), shown_as=out) == found
    else:
        with pytest.raises(MayhemError, match=r"half\.onnx was not written, since half precision changes too much"):
            lower_precision(files["fp32"], out, Lowering("fp16", []), shown_as=out)


@pytest.mark.usefixtures("traced_before")
def test_a_refused_export_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_HALF_SCORES", -1.0)
    images = generated_images(2, 120, 160)
    with pytest.raises(MayhemError, match="was not written"):
        export_checkpoint(checkpoint, tmp_path / "out" / "m.onnx", images=images, lowering=Lowering("fp16", images))
    assert list((tmp_path / "out").iterdir()) == []


def test_frames_to_compare_on_are_none_of_those_to_calibrate_by(tmp_path: Path) -> None:
    first, second = write_drive(tmp_path, "drive-a", 7), write_drive(tmp_path, "drive-b", 4)
    calibration = RecordedFrames([first, second], 6)
    comparison = RecordedFrames([second, first], 100, besides=calibration)
    assert (len(calibration), len(comparison)) == (6, 5)
    seen = {image.tobytes() for image in calibration}
    assert len(seen) == 6 and seen.isdisjoint(image.tobytes() for image in comparison)
    assert [image.tobytes() for image in calibration] == [image.tobytes() for image in calibration], "read anew"
    with pytest.raises(MayhemError, match="no frame left to compare on besides those it is calibrated on"):
        RecordedFrames([second], 4, besides=RecordedFrames([second], 4))


@pytest.mark.usefixtures("traced_before")
def test_the_command_calibrates_on_recordings_and_prints_the_cost(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = write_drive(tmp_path, "drive", 6, width=128, height=96)
    out = tmp_path / "model.onnx"
    command = ["export", str(checkpoint), "--out", str(out), "--precision", "int8", "--calibration", str(drive)]
    assert main([*command, "--calibration-frames", "4"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "int8 against fp32 on 2 frames" in printed and "of the mask is equal" in printed
    assert OnnxModel(out, provider="cpu").card.precision == "int8"


def write_index(path: Path, drive: str, splits: list[str]) -> Path:
    """Frame k of the drive is in `splits[k]`, with a person, and floor everywhere."""
    floor = rle_codec.encode(np.asfortranarray(np.ones((96, 128), np.uint8)))
    surface = SurfaceLabel(2, {"size": floor["size"], "counts": floor["counts"].decode()})
    person = BoxLabel(1, (10.0, 10.0, 40.0, 60.0))
    images = tuple(
        LabelledImage(k, 128, 96, drive, TOPIC, k, k, k, split, boxes=(person,), surfaces=(surface,))
        for k, split in enumerate(splits)
    )
    DatasetIndex((Category(1, "person", True), Category(2, "floor", False)), images).save(path)
    return path


@pytest.mark.usefixtures("traced_before")
def test_a_dataset_calibrates_by_its_training_split_and_judges_by_the_labels_of_another(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_drive(tmp_path, "drive", 6, width=128, height=96)
    index = write_index(tmp_path / "index.json", "drive", ["train"] * 3 + ["val"] * 3)
    labels = ["--index", str(index), "--recordings", str(tmp_path)]
    command = ["export", str(checkpoint), "--out", str(tmp_path / "m.onnx"), "--precision", "int8", *labels]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "int8 against fp32 on 3 frames" in " ".join(printed.split())
    rows = {line.strip("│ ").split("│")[0].strip(): line for line in printed.splitlines() if "│" in line}
    columns = OnnxModel(tmp_path / "m.onnx", provider="cpu"), OnnxModel(checkpoint.parent / "fp32.onnx", provider="cpu")
    with Recording(tmp_path / "drive") as recording:
        frames = [recording.read_image(TOPIC, index) for index in (3, 4, 5)]
    int8, fp32 = (np.mean([model.predict(f[None])[0].mask == 1 for f in frames]) for model in columns)
    figures = [float(cell) for cell in rows["IoU floor"].strip("│ ").split("│")[1:]]
    assert figures == [pytest.approx(fp32, abs=6e-4), pytest.approx(int8, abs=6e-4)]  # floor is everywhere
    assert {"mAP", "AP50", "IoU background"} <= set(rows)

    write_index(tmp_path / "no-train.json", "drive", ["val"] * 3)
    command[command.index(str(index))] = str(tmp_path / "no-train.json")
    assert main([*command, "--force"]) == UsageError.exit_code
    assert "that has frames in its split train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--precision", "int8"], "int8 is calibrated on frames: name recordings with --calibration"),
        (["--precision", "fp16", "--calibration", "x"], "--calibration goes with --precision int8"),
        (["--calibration", "x"], "--calibration goes with --precision int8"),
        (["--precision", "int8", "--calibration", "x", "--calibration-frames", "0"], "on one frame at least"),
    ],
)
def test_wrong_usage_is_one_sentence_before_anything_is_exported(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    out = tmp_path / "model.onnx"
    assert main(["export", str(checkpoint), "--out", str(out), *arguments]) == UsageError.exit_code
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert not out.exists()


def test_a_calibration_recording_that_is_not_there_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(checkpoint), "--out", str(tmp_path / "m.onnx"), "--precision", "int8"]
    assert main([*command, "--calibration", str(tmp_path / "no-drive")]) == 1
    error = capsys.readouterr().err
    assert "no-drive" in error and error.count("\n") == 1
