"""What development's error pages show of the settings."""

import re

from django.views.debug import SafeExceptionReporterFilter


class ReporterFilter(SafeExceptionReporterFilter):
    """Django's own, which does not know that an address can carry a password."""

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|REDIS_URL|CHANNEL_LAYERS", re.IGNORECASE
    )
