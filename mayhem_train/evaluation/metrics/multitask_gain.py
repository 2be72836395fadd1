"""Δm: what learning several tasks together gains or costs against learning each alone.

Maninis, Radosavovic and Kokkinos 2019, "Attentive Single-Tasking of Multiple Tasks"; Vandenhende et al. 2021,
"Multi-Task Learning for Dense Prediction Tasks: A Survey".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


def delta_m(
    multi_task: Mapping[str, float], single_task: Mapping[str, float], lower_is_better: Collection[str] = ()
) -> float:
    """Δm = 1/T Σ_i (-1)^l_i (M_i - B_i) / B_i: the mean relative change over T tasks, above 0 where they gain.

    M_i is the multi-task network's figure for task i, B_i the single-task network's, l_i is 1 where a lower one is
    better.

    Example:
        >>> round(delta_m({"detection": 0.42, "segmentation": 0.76}, {"detection": 0.40, "segmentation": 0.80}), 6)
        0.0

    Raises:
        ValueError: the two name different tasks or none, or a single-task figure is 0, so that no change relates to it.
    """
    return sum(relative_changes(multi_task, single_task, lower_is_better).values()) / len(multi_task)


def relative_changes(
    multi_task: Mapping[str, float], single_task: Mapping[str, float], lower_is_better: Collection[str] = ()
) -> dict[str, float]:
    """By task the relative change that `delta_m` is the mean of, above 0 where the task gains."""
    if not multi_task or set(multi_task) != set(single_task):
        raise ValueError(f"the tasks {sorted(multi_task)} cannot be compared with {sorted(single_task)}")
    changes = {}
    for task, figure in multi_task.items():
        alone = single_task[task]
        if alone == 0:
            raise ValueError(f"the single-task figure of {task} is 0, and no change relates to that")
        changes[task] = (figure - alone) / alone * (-1 if task in lower_is_better else 1)
    return changes
