"""The Django project: settings from the environment, logs, and the composition of the web process."""

from typing import Final

#: The version in the API documentation. The top heading of CHANGELOG.md says the same.
VERSION: Final = "1.0.0"
