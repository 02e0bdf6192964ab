"""Importing this fills the list of checks, in the order of the steps."""

from checks import (  # noqa: F401
    step_01,
    step_02,
    step_03,
    step_04,
    step_05,
    step_06,
    step_07,
    step_08,
)
