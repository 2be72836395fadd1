"""The small parts of a replay: matching by stamp, private domains, requirements, percentiles, choice of pictures."""

from __future__ import annotations

import getpass
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from robot_small_model import card

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.prediction import Prediction
from mayhem_train.evaluation.latency import percentiles
from mayhem_train.evaluation.playback.dds_settings import with_image_settings
from mayhem_train.evaluation.playback.matching import Matcher
from mayhem_train.evaluation.playback.node_process import NodeProcess, last_error
from mayhem_train.evaluation.playback.playback import header_stamp_ns, ros2_topic
from mayhem_train.evaluation.playback.private_domain import private_domain, private_environment
from mayhem_train.evaluation.playback.settings import LOCK_STEP, LOCK_STEP_THRESHOLD, REAL_TIME, PlaybackSettings
from mayhem_train.evaluation.playback.stage_times import StageTimes
from mayhem_train.evaluation.replay.latency_plot import latency_plot
from mayhem_train.evaluation.replay.requirements import parse_requirement
from mayhem_train.evaluation.reporting.gallery import Exhibit, Gallery, evenly
from mayhem_train.evaluation.reporting.pictures import class_colours, prediction_panel
from mayhem_train.evaluation.scoring.scorer import FrameScore


def test_a_frame_is_answered_when_its_last_result_is_there() -> None:
    matcher: Matcher[str] = Matcher({"boxes", "mask"})
    matcher.sent(5, stamp_ns=100, at=1.0)
    matcher.sent(6, stamp_ns=200, at=2.0)
    assert matcher.received("boxes", 200, 2.5, "b6") is None
    assert matcher.received("mask", 100, 2.6, "m5") is None
    answered = matcher.received("mask", 200, 2.75, "m6")
    assert answered is not None
    assert (answered.number, answered.payloads, answered.latency) == (6, {"boxes": "b6", "mask": "m6"}, 0.75)


def test_frames_of_one_stamp_are_answered_in_their_order() -> None:
    matcher: Matcher[str] = Matcher({"boxes"})
    for number in (0, 1, 2):
        matcher.sent(number, stamp_ns=0, at=float(number))
    answered = [matcher.received("boxes", 0, 9.0, payload) for payload in ("a", "b", "c", "late")]
    assert [(a.number, a.payloads["boxes"]) for a in answered if a is not None] == [(0, "a"), (1, "b"), (2, "c")]
    assert answered[3] is None


def test_a_frame_sent_twice_has_no_latency_and_one_given_up_no_answer() -> None:
    matcher: Matcher[str] = Matcher({"boxes"})
    matcher.sent(0, stamp_ns=1, at=0.0)
    matcher.sent(0, stamp_ns=1, at=1.0)
    answered = matcher.received("boxes", 1, 1.5, "a")
    assert answered is not None
    assert answered.latency is None
    matcher.sent(1, stamp_ns=2, at=2.0)
    matcher.give_up(1, stamp_ns=2)
    assert matcher.received("boxes", 2, 3.0, "b") is None


@given(seconds=st.integers(0, 2**31 - 1), nanoseconds=st.integers(0, 10**9 - 1), little=st.booleans())
def test_the_stamp_is_read_from_the_serialised_header(seconds: int, nanoseconds: int, little: bool) -> None:
    cdr = bytes([0, int(little), 0, 0]) + struct.pack("<iI" if little else ">iI", seconds, nanoseconds) + b"rest"
    assert header_stamp_ns(cdr) == seconds * 10**9 + nanoseconds
    assert header_stamp_ns(cdr[:11]) is None


@pytest.mark.parametrize(
    ("recorded", "played"),
    [("/camera/image", "/camera/image"), ("image", "/image"), ("/camera/1/image", "/image"), ("/a//b", "/image")],
)
def test_a_topic_name_that_ros_2_refuses_is_played_under_another(recorded: str, played: str) -> None:
    assert ros2_topic(recorded) == played


def test_two_replays_never_share_a_domain_nor_take_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    with private_domain() as first, private_domain() as second:
        assert len({first, second, 0, 42}) == 4
        script = (
            "from mayhem_train.evaluation.playback.private_domain import private_domain\n"
            f"with private_domain({first}) as domain: print(domain)"
        )
        other = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1]
        )
        assert f"The ROS domain {first} is held by another replay" in other.stderr
        with pytest.raises(MayhemError, match="is held by another replay"), private_domain(second):
            pass
    with private_domain(first) as again:
        assert again == first


def test_a_user_without_a_name_gets_a_domain_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_name() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", no_name)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with private_domain() as domain:
        assert f"@mayhem-replay-domain-{domain}\n" in Path("/proc/net/unix").read_text()
        assert list(tmp_path.iterdir()) == []


def test_a_domain_id_out_of_range_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="The domain id 233 is none"), private_domain(233):
        pass


def test_nothing_in_the_users_environment_leads_a_replay_to_a_robot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ROS_DISCOVERY_SERVER", "ROS_STATIC_PEERS", "ROS_NAMESPACE"):
        monkeypatch.setenv(name, "robot")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    environment = private_environment(7, tmp_path)
    assert "robot" not in environment.values()
    assert (environment["ROS_DOMAIN_ID"], environment["ROS_AUTOMATIC_DISCOVERY_RANGE"]) == ("7", "LOCALHOST")
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("text", "found", "met", "sentence"),
    [
        ("map50=0.5", 0.5, True, "map50 is 0.5, which meets the required 0.5"),
        ("map50=0.5", 0.4999, False, "map50 is 0.4999, below the required 0.5"),
        ("iou.floor=0.9", None, False, "iou.floor could not be measured, and 0.9 is required"),
        ("latency.p99=40", 39.9, True, "latency.p99 is 39.9, within the required 40"),
        ("frames.lost=0", 1, False, "frames.lost is 1, above the required 0"),
    ],
)
def test_quality_must_reach_its_limit_and_losses_must_not_exceed_theirs(
    text: str, found: float | None, met: bool, sentence: str
) -> None:
    requirement = parse_requirement(text)
    verdict = requirement.check({requirement.name: found})
    assert (verdict.met, verdict.sentence) == (met, sentence)


@pytest.mark.parametrize("text", ["map50", "map50=much", "map50=nan", "iou=0.5", "speed=1"])
def test_a_requirement_that_says_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=f"--require {text}"):
        parse_requirement(text)


def test_percentiles_are_those_of_numpy() -> None:
    values = np.random.default_rng(3).gamma(2, 10, 137).tolist()
    found = percentiles(values)
    assert found is not None
    expected = np.percentile(values, [50, 90, 99, 100]).tolist()
    assert [found.p50, found.p90, found.p99, found.max, found.count] == [*expected, 137]
    assert percentiles([]) is None


def test_stage_times_are_the_median_of_medians_and_the_most_of_all() -> None:
    stages = StageTimes()
    for median, most in ((2.0, 9.0), (4.0, 5.0), (3.0, 7.0)):
        stages.note("model", "median", median)
        stages.note("model", "most", most)
    assert stages.summary() == {"model": {"median": 3.0, "most": 9.0}}


def test_the_latency_plot_takes_the_pages_colours_and_names_no_foreign_place() -> None:
    plot = latency_plot([None, 10.0, None, 12.0], unanswered=[2])
    assert plot.startswith("<svg")
    assert "currentColor" in plot
    assert "(red: no answer)" in plot
    assert "http" not in plot.replace("http://www.w3.org/", "")
    assert "no answer" not in latency_plot([None])


def test_the_gallery_keeps_the_worst_and_the_chosen_and_no_more() -> None:
    gallery = Gallery([(0, 1), (0, 3)], worst=2)
    for index, score in enumerate([0.9, 1.0, 0.2, 0.8, 0.5]):
        gallery.offer(Exhibit(0, index, Prediction(), None, None, FrameScore(score, None, score)))
    assert [exhibit.index for exhibit in gallery.worst] == [2, 4]
    assert [exhibit.index for exhibit in gallery.spread] == [1, 3]


@given(count=st.integers(1, 12), frames=st.integers(0, 60))
def test_frames_are_chosen_at_even_distances(count: int, frames: int) -> None:
    chosen = [index for _, index in evenly([(0, index) for index in range(frames)], count)]
    assert len(chosen) == len(set(chosen)) == min(count, frames)
    distances = np.diff(chosen)
    assert len(distances) == 0 or distances.max() - distances.min() <= 1
    if 1 < count <= frames:
        assert (chosen[0], chosen[-1]) == (0, frames - 1)


def test_a_picture_shows_boxes_above_the_thresholds_and_the_masks_outline() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10:20] = 1
    prediction = Prediction(
        boxes=np.array([[1, 2, 11, 22], [4, 4, 8, 8]], np.float32),
        scores=np.array([0.875, 0.5], np.float32),
        labels=np.array([2, 3]),
        mask=mask,
    )
    colours = class_colours(["person", "agv", "box"], ["floor"])
    panel = prediction_panel(card(), prediction, colours)
    assert [(box.x, box.y, box.width, box.height, box.label) for box in panel.boxes] == [(1, 2, 10, 20, "agv 0.88")]
    (floor,) = panel.surfaces
    corners = {tuple(float(v) for v in point.split()) for point in floor.path[1:-1].split("L")}
    assert corners == {(10.5, 5.5), (10.5, 14.5), (19.5, 14.5), (19.5, 5.5)}
    assert floor.colour not in {box.colour for box in panel.boxes}


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", ""),
        (
            "[INFO] [1.5] [perception]: up\n[ERROR] [2.5] [perception]: There is no model.\n[INFO] [3] [p]: x\n",
            "There is no model.",
        ),
        ("perception_node: bad argument\n", "perception_node: bad argument"),
        ("[INFO] [1.5] [perception]: going\n", "going"),
    ],
)
def test_the_nodes_reason_is_its_last_error(log: str, reason: str) -> None:
    assert last_error(log) == reason


def test_thresholds_follow_the_mode_unless_they_are_named() -> None:
    assert PlaybackSettings(LOCK_STEP).threshold == LOCK_STEP_THRESHOLD
    assert PlaybackSettings(REAL_TIME).threshold is None
    assert PlaybackSettings(LOCK_STEP, score_threshold=-1).threshold is None
    assert PlaybackSettings(REAL_TIME, score_threshold=0.3).threshold == 0.3


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "fast"},
        {"mode": REAL_TIME, "rate": 0.0},
        {"rate": 2.0},
        {"score_threshold": 1.5},
        {"provider": "gpu"},
        {"threads": -1},
        {"threads": 257},
    ],
)
def test_settings_that_make_no_sense_are_usage_errors(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        PlaybackSettings(**settings)  # type: ignore[arg-type]


def test_whole_images_get_through_unless_the_user_names_settings() -> None:
    ours = with_image_settings({"PATH": "/bin"})
    assert ours["PATH"] == "/bin"
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        assert "<segment_size>67108864</segment_size>" in Path(ours[name]).read_text()
        theirs = {name: "/robot/dds.xml"}
        assert with_image_settings(theirs) == theirs


def test_the_node_is_of_the_replays_own_package_wherever_the_replay_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another checkout lies in the working folder and, named relatively, first on PYTHONPATH."""
    started = tmp_path / "started"
    for place in (started, started / "other"):
        (place / "mayhem_ros").mkdir(parents=True)
        (place / "mayhem_ros" / "__init__.py").touch()
        (place / "mayhem_ros" / "perception_node.py").write_text("print('foreign')")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(started)
    named = {"FASTDDS_DEFAULT_PROFILES_FILE": "dds.xml"}
    path = os.pathsep.join(["other", os.environ.get("PYTHONPATH", "")])
    with NodeProcess({}, {**os.environ, **named, "PYTHONPATH": path}, tmp_path / "work") as node:
        assert node._process is not None
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            node.refuse_death("at once")  # the foreign ones end as soon as they have printed
            time.sleep(0.1)
        environment = Path(f"/proc/{node._process.pid}/environ").read_bytes().split(b"\0")
    assert f"FASTDDS_DEFAULT_PROFILES_FILE={started / 'dds.xml'}".encode() in environment
    assert "foreign" not in node.log.read_text()


def test_a_node_that_hears_nothing_is_killed_when_the_wait_for_it_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As by a second Ctrl-C."""
    deaf = "import signal, time; signal.signal(2, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    script = tmp_path / "deaf"
    script.write_text(f"#!{sys.executable}\n{deaf}\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(KeyboardInterrupt), NodeProcess({}, os.environ, tmp_path) as node:
        assert node._process is not None
        process = node._process
        while "deaf" not in node.log.read_text():
            time.sleep(0.02)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
    signal.signal(signal.SIGALRM, before)
    assert process.poll() == -signal.SIGKILL
