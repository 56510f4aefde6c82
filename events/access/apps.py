"""Django's view of this package."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Access tokens: their table, their pages in the admin, and `manage.py token`."""

    name = "events.access"
    label = "access"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"
