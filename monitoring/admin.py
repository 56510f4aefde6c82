"""The page "Live clients" of Django's admin: every connected client of every server process."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events.stats import Unavailable, snapshot
from monitoring.listing import Query, headers, select
from monitoring.models import LiveClient

if TYPE_CHECKING:
    LiveClientModelAdmin = admin.ModelAdmin[LiveClient]
else:
    LiveClientModelAdmin = admin.ModelAdmin  # takes a type argument only where types are checked

PAGE_TEMPLATE: Final = "admin/monitoring/liveclient/change_list.html"
TABLE_TEMPLATE: Final = "admin/monitoring/liveclient/table.html"

admin.site.site_header = "Workflow WebSocket Server"
admin.site.site_title = "Workflow WebSocket Server"


@admin.register(LiveClient)
class LiveClientAdmin(LiveClientModelAdmin):
    """Read only. With `fragment` in the query string the answer is the table alone, which the page puts in by itself."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.changelist_view), name="monitoring_liveclient_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: LiveClient | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: LiveClient | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        table = _table(Query.from_params(request.GET))
        if "fragment" in request.GET:
            return TemplateResponse(request, TABLE_TEMPLATE, table)
        context = {**self.admin_site.each_context(request), "title": "Live clients", "opts": self.opts, **table}
        return TemplateResponse(request, PAGE_TEMPLATE, {**context, **(extra_context or {})})


def _table(query: Query) -> dict[str, Any]:
    """What the table shows. `unavailable` says why there is nothing to show."""
    try:
        current = snapshot()
    except Unavailable as error:
        return {"query": query, "headers": headers(query), "unavailable": str(error)}
    page = select(current.clients, query)
    return {
        "query": query,
        "headers": headers(query),
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
        "total": len(current.clients),
        "servers": sum(report.kind == "server" for report in current.processes),
        "at": current.at,
    }
