"""Production's settings, with its static files in a folder of the test's own, and not compressed, which takes its time."""

import os
from pathlib import Path

from wsproject.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["PRODUCTION_STATIC_ROOT"])
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ["js", "css", "svg", "png", "html", "txt", "map", "json", "mjs"]
