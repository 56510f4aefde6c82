"""The API's schema and the page to try it on, for those who may call something of it."""

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseBase
from django.urls import reverse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotAuthenticated

from events.access.http import Authenticated, BearerToken, StaffSession, unstored


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
