"""A model file is run exactly as its card says, or refused with what is wrong with it."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from robot_small_model import (
    BOXES,
    LABELS,
    SCORES,
    card,
    expected_confidence,
    expected_mask,
    save_model,
    small_model,
)

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.model_card import METADATA_KEY
from mayhem_ros.onnx_model import OnnxModel, session_options
from mayhem_ros.prediction import Prediction


def images_with_counts(*counts: int, height: int = 9, width: int = 14) -> NDArray[np.uint8]:
    images = np.random.default_rng(3).integers(0, 256, (len(counts), height, width, 3), np.uint8)
    images[:, 0, 0, 2] = counts
    return images


def test_every_image_gets_its_own_boxes_up_to_its_count_and_its_own_mask(tmp_path):
    images = images_with_counts(2, 0, 4)
    predictions = OnnxModel(save_model(tmp_path / "m.onnx")).predict(images)
    for image, count, prediction in zip(images, (2, 0, 4), predictions, strict=True):
        np.testing.assert_array_equal(prediction.boxes, BOXES[:count])
        np.testing.assert_array_equal(prediction.scores, SCORES[:count])
        np.testing.assert_array_equal(prediction.labels, LABELS[:count])
        np.testing.assert_array_equal(prediction.mask, expected_mask(image))
        np.testing.assert_array_equal(prediction.mask_confidence, expected_confidence(image))
        assert prediction.boxes.dtype == prediction.scores.dtype == np.float32
        assert prediction.mask.dtype == prediction.mask_confidence.dtype == np.uint8


@pytest.mark.parametrize(("task", "detects", "segments"), [("detection", True, False), ("segmentation", False, True)])
def test_single_task_models_leave_the_other_fields_out(tmp_path, task, detects, segments):
    model = OnnxModel(save_model(tmp_path / "m.onnx", task))
    (prediction,) = model.predict(images_with_counts(1))
    assert (model.detects, model.segments) == (detects, segments)
    assert (prediction.boxes is not None, prediction.mask is not None) == (detects, segments)
    assert (prediction.scores is not None, prediction.mask_confidence is not None) == (detects, segments)


def test_mask_outputs_nobody_wants_are_not_fetched(tmp_path, monkeypatch):
    model = OnnxModel(save_model(tmp_path / "m.onnx"))
    fetched = []
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "run",
        lambda self, names, feed, options: fetched.append(names) or run(self, names, feed),
    )
    images = images_with_counts(1)
    assert model.predict(images, with_mask=False)[0].mask is None
    assert model.predict(images, with_mask_confidence=False)[0].mask_confidence is None
    model.predict(images)
    detection = ["boxes", "scores", "labels", "count"]
    assert fetched == [[*detection, "mask_confidence"], [*detection, "mask"], [*detection, "mask", "mask_confidence"]]


def test_a_segmentation_model_nobody_wants_anything_of_is_not_run(tmp_path, monkeypatch):
    model = OnnxModel(save_model(tmp_path / "m.onnx", "segmentation"))
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda *_: pytest.fail("the model ran"))
    assert model.predict(images_with_counts(1, 2), with_mask=False, with_mask_confidence=False) == [Prediction()] * 2


def test_images_that_are_not_contiguous_are_read_right(tmp_path):
    images = images_with_counts(3)[:, ::-1, ::2]
    prediction = OnnxModel(save_model(tmp_path / "m.onnx")).predict(images)[0]
    np.testing.assert_array_equal(prediction.mask, expected_mask(images[0]))


def test_names_come_from_the_card(tmp_path):
    model = OnnxModel(save_model(tmp_path / "m.onnx"))
    assert model.card == card()
    assert [model.class_name(k) for k in (1, 2, 3)] == ["person", "agv", "box"]
    assert [model.surface_name(k) for k in (0, 1)] == ["background", "floor"]
    with pytest.raises(MayhemError, match="detection class 4, but its card knows 1 person, 2 agv, 3 box"):
        model.class_name(4)
    with pytest.raises(MayhemError, match="segmentation class 2, but its card knows 0 background, 1 floor"):
        model.surface_name(2)


def test_boxes_below_their_own_classs_threshold_are_left_out(tmp_path):
    (prediction,) = OnnxModel(save_model(tmp_path / "m.onnx")).predict(images_with_counts(4))
    kept = prediction.above({1: 0.75, 2: 0.9, 3: 0.5})
    np.testing.assert_array_equal(kept.boxes, BOXES[[1, 2]])
    np.testing.assert_array_equal(kept.scores, SCORES[[1, 2]])
    np.testing.assert_array_equal(kept.labels, LABELS[[1, 2]])
    assert kept.mask is prediction.mask


def test_warming_up_runs_the_model_at_its_own_size(tmp_path, monkeypatch):
    model = OnnxModel(save_model(tmp_path / "m.onnx"))
    shapes = []
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "run",
        lambda self, names, feed, options: shapes.append(feed["images"].shape) or run(self, names, feed),
    )
    assert model.warm_up(batch=2) > 0
    assert shapes == [(2, 24, 32, 3)]


def test_the_automatic_provider_says_what_it_is(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    best = "cuda" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"
    assert OnnxModel(path).provider == best
    assert OnnxModel(path, provider="cpu", threads=1).provider == "cpu"


def test_a_provider_this_runtime_lacks_is_an_error_not_the_cpu(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    lacking = {"tensorrt": "TensorrtExecutionProvider", "openvino": "OpenVINOExecutionProvider"}
    for provider, name in lacking.items():
        if name not in onnxruntime.get_available_providers():
            with pytest.raises(MayhemError, match=f"The provider {provider} cannot be had here.* offers .*cpu"):
                OnnxModel(path, provider=provider)


def test_a_provider_without_its_device_is_an_error_not_the_cpu(tmp_path, monkeypatch):
    # onnxruntime-gpu on a machine without a driver lists CUDA, and then opens the session on the CPU alone.
    path = save_model(tmp_path / "m.onnx")
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    if "CUDAExecutionProvider" in onnxruntime.capi._pybind_state.get_available_providers():
        pytest.skip("this machine's ONNX Runtime has CUDA")
    with pytest.raises(MayhemError, match="The provider cuda cannot be had here"):
        OnnxModel(path, provider="cuda")
    assert OnnxModel(path).provider == "cpu"


def test_wrong_arguments_are_refused(tmp_path):
    path = save_model(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="'gpu' is none of auto, cpu, cuda"):
        OnnxModel(path, provider="gpu")
    with pytest.raises(UsageError, match="threads is -1"):
        OnnxModel(path, threads=-1)
    with pytest.raises(ValueError, match=r"float64 \[2, 3\], not uint8 \[N, H, W, 3\]"):
        OnnxModel(path).predict(np.zeros((2, 3)))


def drop_output(name):
    def change(model: onnx.ModelProto) -> None:
        model.graph.output.remove(next(output for output in model.graph.output if output.name == name))

    return change


def retype(name, element_type, shape):
    def change(model: onnx.ModelProto) -> None:
        arguments = [*model.graph.input, *model.graph.output]
        argument = next(argument for argument in arguments if argument.name == name)
        argument.CopyFrom(helper.make_tensor_value_info(name, element_type, shape))

    return change


def float_mask(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.output[0] == "mask").attribute[0].i = TensorProto.FLOAT
    retype("mask", TensorProto.FLOAT, ["N", "H", "W"])(model)


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, []))


def card_of(task):
    return lambda model: helper.set_model_props(model, {METADATA_KEY: card(task).to_json()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_output("count"), r"\(task multitask\): the output count is missing"),
        (drop_output("mask"), r"\(task multitask\): the output mask is missing"),
        (card_of("detection"), r"\(task detection\): it has the output mask"),
        (card_of("segmentation"), r"\(task segmentation\): it has the output boxes"),
        (float_mask, r"the output mask is tensor\(float\) \[N, H, W\] instead of tensor\(uint8\) \[any, any, any\]"),
        (second_input, "its inputs are images, scale instead of images"),
        (retype("images", TensorProto.UINT8, [1, "H", "W", 3]), r"the input images is tensor\(uint8\) \[1, H, W, 3\]"),
    ],
)
def test_a_graph_that_does_not_fit_its_card_is_refused(tmp_path, change, reason):
    path = save_model(tmp_path / "m.onnx", change=change)
    with pytest.raises(MayhemError, match=r"m\.onnx does not fit its model card .*" + reason):
        OnnxModel(path)


@pytest.mark.parametrize(
    ("card_json", "reason"),
    [
        (None, "carries no model card: export it with `mayhem export`"),
        ("{", "carries an invalid model card"),
        ('{"task": "multitask"}', "invalid model card .the field 'detection_classes' is missing"),
        (card().to_json().replace("multitask", "pose"), "invalid model card .task is 'pose'"),
    ],
)
def test_a_file_without_a_valid_card_is_refused(tmp_path, card_json, reason):
    onnx.save(small_model(card_json=card_json), tmp_path / "m.onnx")
    with pytest.raises(MayhemError, match=reason):
        OnnxModel(tmp_path / "m.onnx")


def test_files_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(MayhemError, match=r"There is no model file .*none\.onnx"):
        OnnxModel(tmp_path / "none.onnx")
    with pytest.raises(MayhemError, match="There is no model file"):
        OnnxModel(tmp_path)
    whole = save_model(tmp_path / "whole.onnx").read_bytes()
    for content in (b"", b"not a model\n" * 9, whole[: len(whole) // 2], whole[:-1]):
        path = tmp_path / "broken.onnx"
        path.write_bytes(content)
        with pytest.raises(MayhemError, match=r"broken.onnx cannot be loaded as an ONNX model on cpu \(.*\): copy it"):
            OnnxModel(path, provider="cpu")


def test_a_pass_that_fails_says_on_what_and_the_runtime_says_nothing_beside(tmp_path, capfd):
    def only_nine_rows(model: onnx.ModelProto) -> None:
        nodes = [node for node in model.graph.node if node.output[0] == "mask_confidence"]
        nodes[0].output[0] = "green_plane"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 9, 14]), "shape"))
        model.graph.node.append(helper.make_node("Reshape", ["green_plane", "shape"], ["mask_confidence"]))

    model = OnnxModel(save_model(tmp_path / "m.onnx", change=only_nine_rows))
    model.predict(images_with_counts(1, 2))
    with pytest.raises(MayhemError, match=r"m.onnx failed on 1 images of 15x9 pixels \(.*Reshape"):
        model.predict(images_with_counts(1, width=15))
    assert capfd.readouterr() == ("", "")


def test_threads_do_not_spin_through_the_pauses_between_frames():
    side = 512
    shape = [side, side]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, shape, np.ones(side * side, np.float32))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("before", "after")]
    nodes = [helper.make_node("MatMul", ["before", "weights"], ["after"])]
    graph = helper.make_graph(nodes, "product", value[:1], value[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(4), providers=["CPUExecutionProvider"]
    )
    shares = []
    for _ in range(15):
        session.run(None, {"before": np.ones(shape, np.float32)})
        processor, clock = time.process_time(), time.perf_counter()
        time.sleep(0.01)
        shares.append((time.process_time() - processor) / (time.perf_counter() - clock))
    # Three threads that went on spinning would take as many cores as there are.
    assert np.median(shares) < 0.5


def test_memory_is_given_back_where_the_shapes_of_the_last_passes_change(tmp_path, monkeypatch):
    model = OnnxModel(save_model(tmp_path / "m.onnx"), provider="cpu")
    given_back = []

    def shrinks(options: onnxruntime.RunOptions) -> bool:
        try:
            return options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"
        except RuntimeError:  # there is no such entry
            return False

    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "run",
        lambda self, names, feed, options: given_back.append(shrinks(options)) or run(self, names, feed, options),
    )
    usual, large = np.zeros((1, 8, 9, 3), np.uint8), np.zeros((1, 80, 90, 3), np.uint8)
    for images in [usual] * 20 + [large] + [usual] * 20:
        model.predict(images)
    # The first of its shape, the large one, and the pass after which the large one is none of the last sixteen.
    assert [place for place, given in enumerate(given_back) if given] == [0, 20, 36]
