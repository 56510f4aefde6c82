"""What the web process answers over HTTP: test client, publishing, monitoring, documentation, admin."""

from csp.decorators import csp_update
from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView, TemplateView

#: The test client's address field may name any server.
any_server = csp_update({"connect-src": ["http:", "https:", "ws:", "wss:"]})

urlpatterns = [
    path("", any_server(TemplateView.as_view(template_name="test_client.html")), name="test_client"),
    path("", include("events.urls")),
    path("", include("monitoring.urls")),
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("test_client/icon.svg"))),
]
