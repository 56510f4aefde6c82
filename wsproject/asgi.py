"""The web process: sockets to the consumers, static files to WhiteNoise, all else to Django.

Served by daphne, or any other ASGI server.
"""

import sys
from typing import TYPE_CHECKING

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

from wsproject.env import BadSetting, use_settings

if TYPE_CHECKING:
    from events.asgi import ServerApplication


def _build() -> "ServerApplication":
    use_settings("wsproject.settings")
    django = get_asgi_application()
    # These need the settings, which the line above has read.
    from events.asgi import build_application
    from wsproject.static_files import StaticFiles

    return build_application(StaticFiles(django))


try:
    application = _build()
except (BadSetting, ImproperlyConfigured) as error:
    sys.exit(f"The configuration is not complete:\n{error}")
