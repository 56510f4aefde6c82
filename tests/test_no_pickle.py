"""No pickle anywhere near the wire: whoever may write to Redis, or sends a cookie, must not get code to run by it."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
from channels.layers import channel_layers
from django.conf import settings
from django.contrib.sessions.serializers import JSONSerializer
from django.test import override_settings
from django.utils.module_loading import import_string

from tests.conftest import ROOT

#: Modules that make any object out of bytes.
FORBIDDEN: Final = {
    "pickle",
    "_pickle",
    "pickletools",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "jsonpickle",
    "marshal",
    "shelve",
}

#: What runs in a deployment, or in the programs of those who use it.
FOLDERS: Final = ["events", "monitoring", "wsproject", "clients/python", "examples"]


def imported(source: str) -> Iterator[str]:
    """The names of the top-level modules that a source text imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_code_of_ours_imports_pickle(folder: str) -> None:
    files = [path for path in Path(ROOT, folder).rglob("*.py") if "node_modules" not in path.parts]
    assert files
    found = {str(path.relative_to(ROOT)): names for path in files if (names := FORBIDDEN & set(imported(path.read_text())))}
    assert not found


def test_the_search_finds_every_kind_of_import() -> None:
    for source in ("import pickle", "import json, pickle as p", "def f():\n from pickle import loads", "import dill.source"):
        assert FORBIDDEN & set(imported(source)), source
    assert not FORBIDDEN & set(imported("from .pickle import x\n'import pickle'"))


def redis_layer() -> Any:
    from wsproject.settings import _redis_layer

    with override_settings(CHANNEL_LAYERS={"default": _redis_layer}):
        return channel_layers.make_backend("default")


def test_the_channel_layer_speaks_msgpack() -> None:
    layer = redis_layer()
    message = {"type": "events.batch", "rows": b"\x00\xff", "number": 2**53}
    packed = layer.serialize(message)
    assert msgpack.unpackb(packed) == message
    assert layer.deserialize(packed) == message


def test_sessions_and_messages_are_json() -> None:
    assert import_string(settings.SESSION_SERIALIZER) is JSONSerializer
    assert "Pickle" not in settings.SESSION_SERIALIZER + settings.MESSAGE_STORAGE
    engine = importlib.import_module(settings.SESSION_ENGINE)
    text = engine.SessionStore().encode({"user": 1})
    assert engine.SessionStore().decode(text) == {"user": 1}


def test_no_cache_is_kept_outside_of_the_process() -> None:
    """Django's caches pickle what they keep."""
    backends = {cache["BACKEND"] for cache in settings.CACHES.values()}
    assert backends <= {"django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache"}
