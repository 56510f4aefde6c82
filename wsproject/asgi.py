"""The web process: sockets to the consumers, all else to Django. Served by daphne, or any other ASGI server."""

from wsproject import env

env.use_settings("wsproject.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()

from events.asgi import build_application  # noqa: E402

application = build_application(django_application)
