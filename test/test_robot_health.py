"""The diagnostics tell what became of every frame, and cry out when something is wrong."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from mayhem_ros.health import FrameTiming, Health


def timing(model: float = 0.010, total: float = 0.012, age: float | None = 0.030) -> FrameTiming:
    return FrameTiming(decode=0.0005, model=model, publish=0.001, total=total, age=age)


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def test_counts_run_from_the_start_and_times_are_of_the_period():
    health = Health()
    for model, total in ((0.010, 0.012), (0.020, 0.023), (0.030, 0.039)):
        health.received()
        health.processed(timing(model, total))
    status = health.report("perception: /image", "/image", overtaken=4)
    assert (status.name, status.hardware_id, status.level) == ("perception: /image", "/image", DiagnosticStatus.OK)
    assert status.message.endswith("frames/s")
    found = values(status)
    assert [found[key] for key in ("frames in", "processed", "overtaken", "failed")] == ["3", "3", "4", "0"]
    assert (found["model ms (median)"], found["model ms (most)"]) == ("20.00", "30.00")
    assert (found["overhead ms (median)"], found["overhead ms (most)"]) == ("3.00", "9.00")
    assert (found["decode ms (median)"], found["publish ms (most)"], found["age ms (most)"]) == (
        "0.50",
        "1.00",
        "30.00",
    )

    health.received()
    health.processed(timing(model=0.005))
    found = values(health.report("", "", overtaken=4))
    assert (found["frames in"], found["processed"], found["model ms (most)"]) == ("4", "4", "5.00")


def test_a_stamp_that_is_no_time_gives_no_age():
    health = Health()
    for age in (None, 0.5, None):
        health.received()
        health.processed(timing(age=age))
    assert values(health.report("", "", overtaken=0))["age ms (most)"] == "500.00"
    health.processed(timing(age=None))
    status = health.report("", "", overtaken=0)
    assert (status.level, values(status)["age ms (median)"]) == (DiagnosticStatus.OK, "n/a")


def test_every_frame_is_in_one_count():
    health = Health()
    for _ in range(10):
        health.received()
    for _ in range(3):
        health.processed(timing())
    health.failed("It is depth.")
    found = values(health.report("", "", overtaken=2))
    assert [found[key] for key in ("frames in", "processed", "overtaken", "failed", "waiting")] == [
        "10",
        "3",
        "2",
        "1",
        "4",
    ]


def test_some_failed_frames_warn_and_only_failed_ones_are_an_error():
    health = Health()
    for _ in range(3):
        health.received()
    health.processed(timing())
    health.failed("It is depth.")
    health.failed("It is cut off.")
    status = health.report("", "", overtaken=0)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "2 of 3 frames failed: It is cut off.")
    assert values(status)["failed"] == "2"

    health.received()
    health.failed("It is depth.")
    status = health.report("", "", overtaken=0)
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, "every frame failed: It is depth.")
    assert values(status)["model ms (median)"] == "n/a"


def test_frames_that_nobody_answers_warn():
    health = Health()
    health.received()
    status = health.report("", "", overtaken=0)
    assert status.level == DiagnosticStatus.WARN
    assert status.message.startswith("frames arrive, but none was answered in the last ")
    health.processed(timing())  # a pass longer than the period is no fault once it is over
    assert health.report("", "", overtaken=0).level == DiagnosticStatus.OK


def test_silence_warns():
    health = Health()
    health.received()
    health.processed(timing())
    health.report("", "", overtaken=0)
    status = health.report("", "", overtaken=0)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "no frames arrive")
    assert (values(status)["frames in"], values(status)["frames/s"]) == ("1", "0.0")
