"""The page "Dashboard": whether events flow, how fast, to how many, and what to do where they do not."""

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events.stats import Unavailable, health, last_hour, summary
from monitoring.admin.pages import PageAdmin
from monitoring.models import Dashboard
from monitoring.timeline import charts

FOLDER: Final = "admin/monitoring/dashboard"

#: Name, what it is for, and the part of `Health` that says how it fares.
COMPONENTS: Final = (
    ("Event path", "from the bus to the clients", "events"),
    ("Shared state", "Redis, or this process's memory", "state"),
    ("This server process", "the one that serves this page", "process"),
)


@admin.register(Dashboard)
class DashboardAdmin(PageAdmin[Dashboard]):
    """Components and processes come as a part of the page, the charts' lines as JSON."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="monitoring_dashboard_changelist"),
            path("lines/", view(self.lines_view), name="monitoring_dashboard_lines"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        self.check_view(request)
        return self.page(request, f"{FOLDER}/dashboard.html", f"{FOLDER}/now.html", _now(), title="Dashboard")

    def lines_view(self, request: HttpRequest) -> JsonResponse:
        """See `monitoring.timeline.charts`; 503 with the reason when the samples cannot be read."""
        self.check_view(request)
        try:
            return JsonResponse(charts(last_hour()))
        except Unavailable as error:
            return JsonResponse({"message": f"The last hour cannot be read now: {error}"}, status=503)


def _now() -> dict[str, Any]:
    """How everything is now. A store that cannot be read is no reason to show nothing: the components say so."""
    current = health()
    components = [(name, purpose, getattr(current, part)) for name, purpose, part in COMPONENTS]
    context = {"health": current, "components": components, "refresh_ms": 2_000}
    try:
        found = summary()
        rows = [(report, found.troubles.get(report.process, [])) for report in found.processes]
        return {**context, "summary": found, "rows": rows}
    except Unavailable as error:
        return {**context, "summary": None, "processes_unavailable": str(error)}
