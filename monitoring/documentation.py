"""The API's schema and the page to try it on, for those who may call something of it."""

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseBase
from django.urls import reverse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotAuthenticated

from events.access.http import Authenticated, BearerToken, StaffSession, unstored

#: What `events.request_door` answers before any view is asked.
TOO_MANY_REQUESTS: dict[str, Any] = {
    "description": "Your address, or the server, has too many requests under way. Try again after `Retry-After` seconds.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Message"}}},
}


def describe_the_door(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Each operation of the schema with the answer that any of them may get."""
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("429", TOO_MANY_REQUESTS)
    return result


@unstored
class SchemaView(SpectacularAPIView):
    """The OpenAPI schema."""

    authentication_classes = [BearerToken, StaffSession]
    permission_classes = [Authenticated]


@unstored
class DocsView(SpectacularSwaggerSplitView):
    """The page. Whoever may not see it is asked to log in: a browser cannot be told to send a token."""

    authentication_classes = [BearerToken, StaffSession]
    permission_classes = [Authenticated]
    url_name = "monitoring:schema"

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]  # any Django response will do
        if isinstance(exc, NotAuthenticated):
            return redirect_to_login(self.request.get_full_path(), reverse("admin:login"))
        return super().handle_exception(exc)
