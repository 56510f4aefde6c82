"""The admin's login: who guesses passwords has to wait, as who guesses tokens does."""

from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError

from events.access.attempts import TooManyAttempts, attempt
from events.wiring import server


class LoginForm(AdminAuthenticationForm):
    """Name and password. After some wrong ones of an address none is looked at for a while."""

    def clean(self) -> dict[str, Any]:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            # Nothing was tried, so nothing is counted, and nothing made good.
            return super().clean()
        address = self.request.META.get("REMOTE_ADDR", "") if self.request is not None else ""
        try:
            with attempt(address, settings.EVENTS, "password", _is_wrong):
                return super().clean()
        except TooManyAttempts as refusal:
            if server.process is not None:
                server.process.hub.counters.count("refused", "attempts")
            raise ValidationError(str(refusal), code="too_many_attempts") from None


def _is_wrong(error: Exception) -> bool:
    return isinstance(error, ValidationError)
