"""Django's view of this package."""

from django.apps import AppConfig


class MonitoringAppConfig(AppConfig):
    """Health, metrics, and the live-clients page."""

    name = "monitoring"
