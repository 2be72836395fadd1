"""The workstation: from recordings to a trained, exported and replayed model."""

from mayhem_train.waiting_threads import let_waiting_threads_sleep

let_waiting_threads_sleep()  # here, because it must come before any module loads torch
