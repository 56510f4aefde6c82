"""Development's error pages show the settings, without the secrets in them."""

from typing import Any

from django.views.debug import get_default_exception_reporter_filter


def test_an_address_with_a_password_is_not_shown(settings: Any) -> None:
    address = "redis://:hunter2@redis:6379/0"
    settings.REDIS_URL = address
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [{"address": address}]}}}
    shown = get_default_exception_reporter_filter().get_safe_settings()
    assert "REDIS_URL" in shown
    assert "hunter2" not in repr(shown)
