"""Fast DDS settings with which whole camera images get through; without them best-effort images are lost."""

from __future__ import annotations

from collections.abc import Mapping

from mayhem_train.shipped import shipped_file

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""What names the settings file: Humble and Jazzy know the first name, Kilted and later the second."""


def with_image_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """These environment variables and the shipped Fast DDS settings, unless they name settings of their own."""
    if any(environment.get(name) for name in PROFILE_VARIABLES):
        return dict(environment)
    return {**environment, **dict.fromkeys(PROFILE_VARIABLES, str(shipped_file("config/fastdds.xml")))}
