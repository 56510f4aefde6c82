"""The admin's login: who guesses passwords has to wait, as who guesses tokens does."""

from threading import BoundedSemaphore
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError

from events.access.attempts import TooManyAttempts, attempt
from events.wiring import server

log = structlog.get_logger("events")

#: To check a password takes a third of a second of a core, on purpose. One at a time leaves the other cores to the clients,
#: and has each guess know of those before it.
_ONE_AT_A_TIME: Final = BoundedSemaphore()

#: Who waited for so long is told to come again.
BUSY_S: Final = 5.0

BUSY: Final = "Others are logging in at the moment: try again in a few seconds."


class LoginForm(AdminAuthenticationForm):
    """Name and password. After some wrong ones of an address none is looked at for a while."""

    def clean(self) -> dict[str, Any]:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            # Nothing was tried, so nothing is counted, and nothing made good.
            return super().clean()
        if not _ONE_AT_A_TIME.acquire(timeout=BUSY_S):
            raise ValidationError(BUSY, code="busy")
        try:
            return self._checked()
        finally:
            _ONE_AT_A_TIME.release()

    def _checked(self) -> dict[str, Any]:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request is not None else ""
        try:
            with attempt(address, settings.EVENTS, kind="password", is_wrong=_is_wrong):
                return super().clean()
        except ValidationError:
            # What was typed is not logged: it may be a password in the wrong field.
            log.info("login_failed", address=address)
            raise
        except TooManyAttempts as refusal:
            server.count("refused", "attempts")
            raise ValidationError(str(refusal), code="too_many_attempts") from None


def _is_wrong(error: Exception) -> bool:
    return isinstance(error, ValidationError)
