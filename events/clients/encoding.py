"""A process's report as JSON: both registries keep it so, and neither shares objects with its callers."""

from dataclasses import fields
from typing import Final

import orjson

from events.ports import ProcessReport

_FIELDS: Final = frozenset(field.name for field in fields(ProcessReport))


def encode(report: ProcessReport) -> bytes:
    """The report as a JSON object."""
    return orjson.dumps(report)


def decode(document: bytes) -> ProcessReport:
    """The report of a JSON object. Fields that only a newer release knows are passed over."""
    return ProcessReport(**{name: value for name, value in orjson.loads(document).items() if name in _FIELDS})
