"""A replay plays recordings through the real node, as its own process, and reports exactly what came back."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import evaluation_small_drive as drive
import pytest
from robot_small_model import save_model, with_nan_scores

from mayhem_ros.errors import MayhemError
from mayhem_ros.onnx_model import OnnxModel
from mayhem_train import cli
from mayhem_train.datasets.index import dataset_hash
from mayhem_train.evaluation.playback.node_process import NodeProcess
from mayhem_train.evaluation.playback.playback import playback
from mayhem_train.evaluation.playback.private_domain import private_domain, private_environment
from mayhem_train.evaluation.playback.settings import PlaybackSettings
from mayhem_train.evaluation.playback.stage_times import StageTimes
from mayhem_train.recordings.recording import RecordedMessage, Recording


@dataclass(frozen=True)
class Workplace:
    """A model, a drive and its labels."""

    folder: Path
    model: Path
    recording: Path
    index: Path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("replay")
    index = folder / "index.json"
    drive.labels("drive").save(index)
    return Workplace(folder, save_model(folder / "small.onnx"), drive.write_drive(folder / "drive"), index)


@pytest.fixture(scope="module")
def lock_step(workplace: Workplace) -> Path:
    """The report of one lock-step replay of the drive."""
    out = workplace.folder / "lock-step"
    assert replay(workplace, out, "--require", "map50=0.9", "--require", "frames.lost=0") == 0
    return out


@pytest.fixture(scope="module")
def real_time(workplace: Workplace) -> Path:
    """The report of one replay of the drive at half its pace, which asks for more than there is."""
    out = workplace.folder / "real-time"
    pace = ("--mode", "real-time", "--rate", "0.5")
    assert replay(workplace, out, *pace, "--require", "iou.floor=0.9") == 1
    return out


def replay(workplace: Workplace, out: Path, *options: str) -> int:
    labels = ["--index", str(workplace.index)]
    arguments = ["replay", str(workplace.recording), "--model", str(workplace.model), *labels, "--out", str(out)]
    return cli.main([*arguments, *options])


def content(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def node_processes() -> list[int]:
    """Perception nodes that this process or one below it started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        marked = f"MAYHEM_TEST_OF={os.getpid()}".encode() in environment.split(b"\0")
        if b"mayhem_ros.perception_node" in command and state != "Z" and marked:
            found.append(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def no_node_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MAYHEM_TEST_OF", str(os.getpid()))
    yield
    assert node_processes() == []


def test_every_frame_is_accounted_for(lock_step: Path) -> None:
    assert content(lock_step)["frames"] == {
        "in": 6,
        "out": drive.FRAMES_OUT,
        "lost": 0,
        "undecodable": 1,
        "scored": drive.FRAMES_SCORED,
    }
    with (lock_step / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["answered"] * 3 + ["undecodable"] + ["answered"] * 2
    assert [int(row["stamp_ns"]) for row in rows] == [drive.stamp_ns(index) for index in range(6)]


def test_boxes_are_scored_as_worked_out_by_hand(lock_step: Path) -> None:
    detection = content(lock_step)["detection"]
    assert detection["map"] == pytest.approx(drive.MAP, abs=1e-12)
    assert detection["ap50"] == pytest.approx(drive.MAP, abs=1e-12)
    found = {name: of_class["ap"] for name, of_class in detection["classes"].items()}
    assert found == pytest.approx({"person": drive.PERSON_AP, "box": drive.BOX_AP, "agv": drive.AGV_AP}, abs=1e-12)


def test_precision_and_recall_are_those_at_the_cards_thresholds(lock_step: Path) -> None:
    classes = content(lock_step)["detection"]["classes"]
    counts = {
        name: tuple(of_class[key] for key in ("true_positives", "false_positives", "false_negatives"))
        for name, of_class in classes.items()
    }
    assert counts == {"person": (2, 0, 0), "box": (0, 0, 1), "agv": (3, 0, 1)}
    assert (classes["agv"]["precision"], classes["agv"]["recall"]) == (1.0, 0.75)
    assert (classes["box"]["precision"], classes["box"]["recall"]) == (None, 0.0)


def test_surfaces_are_scored_as_worked_out_by_hand(lock_step: Path) -> None:
    segmentation = content(lock_step)["segmentation"]
    expected = {"background": drive.BACKGROUND_IOU, "floor": drive.FLOOR_IOU}
    assert segmentation["classes"] == pytest.approx(expected, abs=1e-12)
    assert segmentation["mean_iou"] == pytest.approx(sum(expected.values()) / 2, abs=1e-12)


def test_the_report_says_what_was_judged_and_where(lock_step: Path, workplace: Workplace) -> None:
    report = content(lock_step)
    assert report["dataset"]["sha256"] == dataset_hash(workplace.index)
    assert report["model"]["sha256"] == dataset_hash(workplace.model)
    assert report["model"]["origin"]["model"] == "small"
    assert [recording["name"] for recording in report["recordings"]] == ["drive"]
    assert report["mode"] == "lock-step"
    assert report["machine"]["cores"] >= 1
    assert [requirement["met"] for requirement in report["requirements"]] == [True, True]


def test_latencies_are_ordered_and_hold_the_nodes_own_time(lock_step: Path) -> None:
    report = content(lock_step)
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert latency["count"] == drive.FRAMES_OUT - 1  # the first frame's is the time DDS took to find its partners
    assert set(report["node_stages_ms"]) >= {"decode", "model", "publish"}
    assert report["node_stages_ms"]["model"]["median"] < latency["max"]


def test_the_page_stands_alone_and_shows_every_scored_frame_that_was_seen_badly(lock_step: Path) -> None:
    page = (lock_step / "report.html").read_text()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page
    assert page.count("data:image/jpeg;base64,") == 8  # four frames, all imperfect: worst and spread
    assert content(lock_step)["worst_frames"][0] == "drive-000002.png"  # its agv is missed
    assert "drive-000003.png" not in page
    assert "agv 0.88" in page


def test_real_time_counts_what_it_loses(real_time: Path) -> None:
    report = content(real_time)
    frames = report["frames"]
    assert (frames["in"], frames["undecodable"], frames["out"] + frames["lost"]) == (6, 1, 5)
    assert frames["out"] >= 1
    assert report["score_threshold"] is None
    assert report["detection"]["classes"]["agv"]["false_positives"] == 0


def test_an_unmet_requirement_fails_the_command_but_the_report_is_written(real_time: Path) -> None:
    assert content(real_time)["requirements"] == [
        {"name": "iou.floor", "limit": 0.9, "found": pytest.approx(drive.FLOOR_IOU), "met": False}
    ]


def test_several_recordings_make_one_report_and_need_no_labels(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # All stamps equal: then the order tells which result is whose.
    other = drive.write_drive(tmp_path / "other", stamps=[7] * 6, corrupt=False)
    out = str(tmp_path / "out")
    assert (
        cli.main(["replay", str(workplace.recording), str(other), "--model", str(workplace.model), "--out", out]) == 0
    )
    report = content(tmp_path / "out")
    counts = {recording["name"]: recording["frames"]["out"] for recording in report["recordings"]}
    assert counts == {"drive": 5, "other": 6}
    assert (report["detection"], report["segmentation"], report["frames"]["out"]) == (None, None, 11)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["frames", "out", "11"] in printed


def test_a_node_that_dies_on_the_way_is_reported_with_the_frames_played(workplace: Workplace, tmp_path: Path) -> None:
    def messages(recording: Recording) -> Iterator[RecordedMessage]:
        for message in recording.messages([drive.TOPIC]):
            if message.index == 2:
                for process in node_processes():
                    os.kill(process, signal.SIGTERM)  # SIGKILL would leave DDS's shared memory behind
                while node_processes():
                    time.sleep(0.05)
            yield message

    with Recording(workplace.recording) as recording, private_domain() as domain:
        card, topic = OnnxModel(workplace.model).card, recording.image_topic(None)
        with (
            pytest.raises(MayhemError, match=r"ended after 2 frames \(exit code 0\)"),
            playback(workplace.model, card, topic, domain, tmp_path, PlaybackSettings(), StageTimes()) as played,
        ):
            list(played.play(messages(recording), is_damaged=lambda index: False))


def test_a_node_that_does_not_start_passes_on_its_reason(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(workplace, tmp_path / "out", "--provider", "tensorrt") == 1
    assert "The provider tensorrt cannot be had here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrangement", "number", "code"),
    [("", signal.SIGINT, 130), ("", signal.SIGHUP, 130), ("nohup", signal.SIGHUP, 0)],
)
def test_ctrl_c_or_a_closed_terminal_stops_the_node_and_leaves_nothing_unless_under_nohup(
    workplace: Workplace, tmp_path: Path, arrangement: str, number: signal.Signals, code: int
) -> None:
    options = ["--model", str(workplace.model), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*arrangement.split(), sys.executable, "-m", "mayhem_train.cli", "replay", str(workplace.recording), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        preexec_fn=_hear_signals,
    )
    deadline = time.monotonic() + 60
    while not node_processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert node_processes()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    if code == 0:
        assert content(tmp_path / "out")["frames"]["out"] == drive.FRAMES_OUT
    else:
        assert errors.decode().strip().splitlines()[-1] == "mayhem replay: interrupted"
        assert list(tmp_path.iterdir()) == []


def _hear_signals() -> None:
    """In a terminal they are heard; tests that run in the background of a script inherit that SIGINT is ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_another_perception_node_on_the_domain_is_refused(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with private_domain() as domain:
        number = domain
    parameters = {"model_path": str(workplace.model), "autostart": True, "image_topics": [drive.TOPIC]}
    with NodeProcess(parameters, private_environment(number, tmp_path), tmp_path) as other:
        deadline = time.monotonic() + 60
        while "warming up took" not in other.log.read_text() and time.monotonic() < deadline:
            other.refuse_death("before it was ready")
            time.sleep(0.05)
        assert replay(workplace, tmp_path / "out", "--domain-id", str(number)) == 1
    assert "Another perception node publishes /perception/" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("held", ["model", "recording", "index"])
def test_what_is_read_is_never_deleted_for_the_report(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str], held: str
) -> None:
    out = tmp_path / "out"
    given = getattr(workplace, held)
    kept = out / "deep" / given.name
    kept.parent.mkdir(parents=True)
    (shutil.copytree if given.is_dir() else shutil.copyfile)(given, kept)
    (tmp_path / "link").symlink_to(out)
    assert replay(replace(workplace, **{held: kept}), tmp_path / "link", "--force") == 2
    assert f"--out {tmp_path / 'link'} holds {kept}, which would be deleted" in capsys.readouterr().err
    assert kept.exists()


def test_a_replay_that_nothing_answered_fails(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = drive.write_drive(tmp_path / "cut", only=drive.CORRUPT)
    out = tmp_path / "out"
    assert cli.main(["replay", str(cut), "--model", str(workplace.model), "--out", str(out)]) == 1
    assert "None of 1 frames was answered" in capsys.readouterr().err
    assert content(out)["frames"]["undecodable"] == 1


def test_a_model_that_gives_nonsense_ends_the_replay_with_the_nodes_reason(
    workplace: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "nan.onnx", change=with_nan_scores)
    whole = drive.write_drive(tmp_path / "whole", corrupt=False, seen=(1, 1, 1, 1))
    assert cli.main(["replay", str(whole), "--model", str(model), "--out", str(tmp_path / "out")]) == 1
    assert "refused frame after frame: every frame failed" in (said := capsys.readouterr().err)
    assert "nan.onnx gave the score nan" in said


def test_without_ros_one_sentence_says_what_to_source(workplace: Workplace, tmp_path: Path) -> None:
    options = ["replay", str(workplace.recording), "--model", str(workplace.model), "--out", str(tmp_path / "out")]
    script = f"import sys; sys.modules['rclpy'] = None; from mayhem_train import cli; sys.exit(cli.main({options!r}))"
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("mayhem replay: Replaying needs ROS 2 in Python (")
    assert "setup.bash" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"recording": "none"}, 1, "There is no recording at"),
        ({"model": "none.onnx"}, 1, "There is no model file"),
        ({"index": "none.json"}, 1, "Cannot read the dataset index"),
        ({"model": "cardless.onnx"}, 1, "carries no model card"),
        ({"index": "foreign.json"}, 1, "labels no frame of drive /camera/image, only of elsewhere /camera/image"),
        ({"index": "longer.json"}, 1, "labels frame 99 of drive, but"),
        ({"index": "restamped.json"}, 1, "it is another recording of the same name"),
        ({"out": "occupied"}, 2, "exists already"),
        ({"options": ["--split", "tset"]}, 2, "has no split 'tset': it has val."),
        ({"options": ["--require", "iou.flor=0.9"]}, 2, "has no class 'flor'"),
        ({"options": ["--require", "mapp=0.9"]}, 2, "there is no figure 'mapp'"),
        ({"options": ["--rate", "2"]}, 2, "In lock-step there is no pace to change"),
        ({"options": ["--topic", "/no"]}, 2, "/no"),
        ({"options": ["--provider", "gpu"]}, 2, "The provider 'gpu' is none of auto, cpu"),
        ({"options": ["--threads", "257"]}, 2, "--threads 257 is not from 0 to 256"),
    ],
)
def test_bad_input_is_one_sentence(
    workplace: Workplace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    code: int,
    sentence: str,
) -> None:
    labels = drive.labels("drive")
    drive.labels("elsewhere").save(tmp_path / "foreign.json")
    longer = replace(labels, images=(*labels.images, replace(labels.images[0], id=99, index=99)))
    longer.save(tmp_path / "longer.json")
    restamped = replace(labels, images=(replace(labels.images[0], stamp_ns=5), *labels.images[1:]))
    restamped.save(tmp_path / "restamped.json")
    save_model(tmp_path / "cardless.onnx", change=lambda model: model.metadata_props.clear())
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "notes.txt").write_text("mine")
    files = {"recording": workplace.recording, "model": workplace.model, "index": workplace.index}
    files |= {name: tmp_path / value for name, value in change.items() if name in files}
    out = tmp_path / change.get("out", "out")
    changed = replace(workplace, **files)
    assert replay(changed, out, *change.get("options", [])) == code
    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert (tmp_path / "occupied" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "out").exists()
