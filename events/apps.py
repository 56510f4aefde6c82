"""Django's view of this package."""

from django.apps import AppConfig


class EventsAppConfig(AppConfig):
    """Registers the system checks."""

    name = "events"

    def ready(self) -> None:
        from events import checks  # noqa: F401 - importing registers them
