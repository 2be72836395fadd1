"""The model always gets the newest frame of every camera, and no frame disappears uncounted."""

from __future__ import annotations

import threading

from mayhem_ros.mailbox import Mailbox


def test_the_newest_frame_of_each_camera_is_taken_and_the_overtaken_are_counted():
    mailbox = Mailbox[int](["front", "rear"])
    for frame in (1, 2, 3):
        mailbox.put("front", frame)
    mailbox.put("rear", 10)
    assert mailbox.take() == {"front": 3, "rear": 10}
    mailbox.put("rear", 11)
    assert mailbox.take() == {"rear": 11}
    assert (mailbox.overtaken("front"), mailbox.overtaken("rear")) == (2, 0)


def test_without_a_capacity_every_frame_comes_in_order():
    mailbox = Mailbox[int](["front"], capacity=None)
    for frame in range(100):
        mailbox.put("front", frame)
    assert [mailbox.take()["front"] for _ in range(100)] == list(range(100))
    assert mailbox.overtaken("front") == 0


def test_closing_wakes_whoever_waits_and_drops_what_comes_later():
    mailbox = Mailbox[int](["front"])
    taken: list[dict[str, int]] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(timeout=30)
    mailbox.put("front", 1)
    assert taken == [{}]
    assert mailbox.take() == {}


def test_every_frame_put_by_many_threads_is_either_taken_or_counted():
    cameras = ["a", "b", "c"]
    mailbox = Mailbox[int](cameras)
    taken: dict[str, list[int]] = {camera: [] for camera in cameras}

    def work() -> None:
        while frames := mailbox.take():
            for camera, frame in frames.items():
                taken[camera].append(frame)

    def send(camera: str) -> None:
        for frame in range(2000):
            mailbox.put(camera, frame)

    worker = threading.Thread(target=work)
    worker.start()
    senders = [threading.Thread(target=send, args=(camera,)) for camera in cameras]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(timeout=30)
    for camera in cameras:
        mailbox.put(camera, 2000)
    while any(not frames or frames[-1] != 2000 for frames in taken.values()):
        pass
    mailbox.close()
    worker.join(timeout=30)
    for camera in cameras:
        assert taken[camera] == sorted(taken[camera])
        assert len(taken[camera]) + mailbox.overtaken(camera) == 2001
