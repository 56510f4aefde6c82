"""The settings, with bodies so small that many of them are soon sent."""

from wsproject.settings import *  # noqa: F403

MAX_BODY_BYTES = 200_000
