"""`manage.py bootstrap`: make a checkout ready to serve. Can be run again at any time."""

from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

#: Name and password of the user that development gets for the admin.
DEVELOPMENT_USER: Final = "admin"


class Command(BaseCommand):
    help = "Brings the database up to date. Development: creates a user for the admin. Production: collects static files."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
        if settings.PRODUCTION:
            call_command("collectstatic", verbosity=0, interactive=False, skip_checks=True)
        else:
            self._create_development_user()

    def _create_development_user(self) -> None:
        users = get_user_model().objects
        if users.exists():
            return
        users.create_superuser(username=DEVELOPMENT_USER, password=DEVELOPMENT_USER)
        self.stdout.write(f"Created the development user {DEVELOPMENT_USER} with the password {DEVELOPMENT_USER}.")
