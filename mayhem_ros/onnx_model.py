"""An exported model: load it, check what it promises, run it on camera images."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.graph_outputs import read_outputs, refuse_nonsense, unknown_class
from mayhem_ros.model_card import ModelCard, read_card
from mayhem_ros.prediction import Prediction

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt", "openvino")
"""What `provider` may be. `auto` is CUDA where there is one and the CPU otherwise; the others must be asked for."""


class OnnxModel:
    """A model file in ONNX Runtime.

    Attributes:
        path: the file.
        card: what the file says of itself.
        provider: what runs it, never `auto`.

    Args:
        path: an ONNX file with a model card.
        provider: one of `PROVIDERS`. One that is asked for and cannot be had is an error, never another provider.
        threads: CPU threads of one pass, 0 for as many as the machine has cores.

    Raises:
        MayhemError: the file is missing, damaged, no ONNX model, carries no valid card or does not fit its card, or the
            provider cannot be had.
        UsageError: `provider` or `threads` is none.
    """

    path: Path
    card: ModelCard
    provider: str

    def __init__(self, path: str | Path, *, provider: str = "auto", threads: int = 0) -> None:
        if provider not in PROVIDERS:
            raise UsageError(f"The provider {provider!r} is none of {', '.join(PROVIDERS)}.")
        if threads < 0:
            raise UsageError(f"threads is {threads}: name a number of threads, or 0 for one a core.")
        self.path = Path(path)
        if not self.path.is_file():
            raise MayhemError(f"There is no model file {self.path}: make one with `mayhem export`.")
        self._session, self.provider = _open_session(self.path, provider, threads)
        self.card = read_card(self._session.get_modelmeta().custom_metadata_map, str(self.path))
        self._outputs = _check_graph(self._session, self.card, self.path)
        self._recent_shapes: deque[tuple[int, ...]] = deque(maxlen=_RECENT)
        self._detection_names = {kind.id: kind.name for kind in self.card.detection_classes}
        self._segmentation_names = {kind.id: kind.name for kind in self.card.segmentation_classes}

    @property
    def detects(self) -> bool:
        """Whether predictions have boxes."""
        return "boxes" in self._outputs

    @property
    def segments(self) -> bool:
        """Whether predictions have a mask."""
        return "mask" in self._outputs

    def class_name(self, label: int) -> str:
        """The name of a detection class.

        Raises:
            MayhemError: the card has no such class.
        """
        return _look_up(self._detection_names, label, "detection", self.path)

    def surface_name(self, value: int) -> str:
        """The name of a segmentation class, a value of the mask.

        Raises:
            MayhemError: the card has no such class.
        """
        return _look_up(self._segmentation_names, value, "segmentation", self.path)

    def warm_up(self, batch: int = 1) -> float:
        """Runs once on black images of the size the model was trained for; returns how long it took, in seconds."""
        start = time.perf_counter()
        self._run(self._outputs, np.zeros((batch, self.card.input.height, self.card.input.width, 3), np.uint8))
        return time.perf_counter() - start

    def predict(
        self, images: NDArray[np.uint8], *, with_mask: bool = True, with_mask_confidence: bool = True
    ) -> list[Prediction]:
        """One prediction an image, in its own pixels, whatever the score.

        Args:
            images: uint8 [N, H, W, 3] RGB.
            with_mask: False leaves `mask` None, and it is not fetched from the runtime.
            with_mask_confidence: the same for `mask_confidence`.

        Raises:
            MayhemError: the runtime fails, say for want of memory, or gives what cannot be meant, such as NaN.
            ValueError: `images` is another kind of array.
        """
        return refuse_nonsense(
            self.predict_each(images, with_mask=with_mask, with_mask_confidence=with_mask_confidence)
        )

    def predict_each(
        self, images: NDArray[np.uint8], *, with_mask: bool = True, with_mask_confidence: bool = True
    ) -> list[Prediction | MayhemError]:
        """`predict` where one image's nonsense is not to cost the others theirs: the error stands in its place."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images is {images.dtype} {list(images.shape)}, not uint8 [N, H, W, 3]")
        unwanted = {"mask": not with_mask, "mask_confidence": not with_mask_confidence}
        names = [name for name in self._outputs if not unwanted.get(name, False)]
        if not names:
            return [Prediction() for _ in images]
        return read_outputs(self._run(names, images), images.shape, self.card, self.path)

    def _run(self, names: Sequence[str], images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The outputs of these names."""
        try:
            arrays = self._session.run(names, {"images": np.ascontiguousarray(images)}, self._run_options(images.shape))
        except Exception as error:  # ONNX Runtime's errors have no class of their own in common
            count, height, width, _ = images.shape
            raise MayhemError(
                f"{self.path} failed on {count} images of {width}x{height} pixels ({_first_line(error)})."
            ) from error
        return dict(zip(names, arrays, strict=True))

    def _run_options(self, shape: tuple[int, ...]) -> onnxruntime.RunOptions:
        """Silent, since what fails is raised and said once, not on every frame.

        Gives memory back where the shapes of the last passes change.

        Else ONNX Runtime would keep as much as its largest image took, which may have been one of a kind. Always giving
        it back would take a tenth of the time of a pass.
        """
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        before = set(self._recent_shapes)
        self._recent_shapes.append(shape)
        if self.provider != "cpu" or set(self._recent_shapes) == before:
            return options
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options


class _Output(NamedTuple):
    """What DESIGN's contract says of one output: element types, shape (None: any), and the task it belongs to."""

    types: tuple[str, ...]
    shape: tuple[int | None, ...]
    task: str


_OUTPUTS = {
    "boxes": _Output(("tensor(float)",), (None, None, 4), "detection"),
    "scores": _Output(("tensor(float)",), (None, None), "detection"),
    "labels": _Output(("tensor(int64)",), (None, None), "detection"),
    "count": _Output(("tensor(int64)", "tensor(int32)"), (None,), "detection"),
    "mask": _Output(("tensor(uint8)",), (None, None, None), "segmentation"),
    "mask_confidence": _Output(("tensor(uint8)",), (None, None, None), "segmentation"),
}
_INPUT = _Output(("tensor(uint8)",), (None, None, None, 3), "")
_RUNTIME_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_AUTOMATIC = ("cuda", "cpu")
_FATAL = 4
_RECENT = 16  # passes, among which every camera has its turn


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """How a model runs on the CPU: on so many threads, 0 for one a core.

    Threads that wait for the next operator spin for ten microseconds and sleep then. With threads that sleep at once a
    pass takes 8 % longer; spinning on, as ONNX Runtime does by itself, takes twice the processor time at 20 Hz for 2 %
    (benchmarks/session_settings.py).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 26):
        options.add_session_config_entry("session.intra_op.spin_duration_us", "10")
    else:  # which cannot bound it
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open_session(path: Path, provider: str, threads: int) -> tuple[onnxruntime.InferenceSession, str]:
    """A session on the provider asked for, or on the first of `_AUTOMATIC` that this machine has."""
    options = session_options(threads)
    for candidate in _AUTOMATIC if provider == "auto" else (provider,):
        name = _RUNTIME_PROVIDERS[candidate]
        if name not in onnxruntime.get_available_providers():
            continue
        # A GPU provider leaves to the CPU the few operators it lacks; the CPU alone never stands in for it.
        names = [name] if candidate == "cpu" else [name, _RUNTIME_PROVIDERS["cpu"]]
        try:
            session = onnxruntime.InferenceSession(path, options, names, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's errors have no class of their own in common
            raise MayhemError(
                f"{path} cannot be loaded as an ONNX model on {candidate} ({_first_line(error)}): "
                "copy it again whole, or export it again."
            ) from error
        # With a library compiled in but no device or driver, the runtime only drops the provider from this list.
        if session.get_providers()[0] == name:
            session.disable_fallback()
            return session, candidate
    available = [key for key, name in _RUNTIME_PROVIDERS.items() if name in onnxruntime.get_available_providers()]
    raise MayhemError(
        f"The provider {provider} cannot be had here: this ONNX Runtime {onnxruntime.__version__} offers "
        f"{', '.join(available)}, and what it offers needs its device and driver; install the matching onnxruntime "
        "package or choose another provider."
    )


def _check_graph(session: onnxruntime.InferenceSession, card: ModelCard, path: Path) -> tuple[str, ...]:
    """The names of the outputs the card's task has, once the graph is known to fit it."""

    def refuse(found: str) -> MayhemError:
        return MayhemError(f"{path} does not fit its model card (task {card.task}): {found}; export it again.")

    inputs = {argument.name: argument for argument in session.get_inputs()}
    if set(inputs) != {"images"}:
        raise refuse(f"its inputs are {', '.join(inputs) or 'none'} instead of images")
    if not _fits(inputs["images"], _INPUT):
        raise refuse(f"the input images is {_describe(inputs['images'])} instead of tensor(uint8) [N, H, W, 3]")
    outputs = {argument.name: argument for argument in session.get_outputs()}
    wanted = []
    for name, expected in _OUTPUTS.items():
        if card.task not in ("multitask", expected.task):
            if name in outputs:
                raise refuse(f"it has the output {name}")
            continue
        if name not in outputs:
            raise refuse(f"the output {name} is missing")
        if not _fits(outputs[name], expected):
            shape = ", ".join("any" if size is None else str(size) for size in expected.shape)
            raise refuse(f"the output {name} is {_describe(outputs[name])} instead of {expected.types[0]} [{shape}]")
        wanted.append(name)
    return tuple(wanted)


def _fits(argument: Any, expected: _Output) -> bool:
    """Sizes the graph leaves open (a name or None) fit; a batch fixed at one does not, as N is the caller's choice."""
    if argument.type not in expected.types or len(argument.shape) != len(expected.shape):
        return False
    if isinstance(argument.shape[0], int):
        return False
    return all(
        size is None or not isinstance(found, int) or found == size
        for found, size in zip(argument.shape, expected.shape, strict=True)
    )


def _describe(argument: Any) -> str:
    return f"{argument.type} [{', '.join(str(size) for size in argument.shape)}]"


def _look_up(names: dict[int, str], value: int, kind: str, path: Path) -> str:
    if value not in names:
        raise MayhemError(f"{path} gave {unknown_class(value, names, kind)}: export it again.")
    return names[value]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
