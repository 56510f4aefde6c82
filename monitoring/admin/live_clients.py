"""The pages "Live clients" and one for each client, with what operators can do to it."""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events.control import ControlReply, describe
from events.stats import Unavailable, snapshot
from monitoring.admin.acting import ActingAdmin
from monitoring.client_actions import ACTIONS
from monitoring.listing import CHOICES, Query, headers, select
from monitoring.models import LiveClient

FOLDER: Final = "admin/monitoring/liveclient"

#: How often the list asks for itself, in milliseconds: with many clients an answer is work.
REFRESH_MS: Final = 2_000
SLOW_REFRESH_MS: Final = 5_000
MANY_CLIENTS: Final = 2_000

NOT_CONNECTED: Final = "This client is not connected any more."
UNHEARD: Final = "The client's server process does not answer. See whether it is well."


@admin.register(LiveClient)
class LiveClientAdmin(ActingAdmin[LiveClient]):
    """The list at the model's address, a client below it by its sid, and each action below the client."""

    actions_on_one = ACTIONS

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="monitoring_liveclient_changelist"),
            path("<str:object_id>/change/", view(self.client_view), name="monitoring_liveclient_change"),
            path("<str:object_id>/<str:name>/", view(self.action_view), name="monitoring_liveclient_action"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        self.check_view(request)
        table = _table(Query.from_params(request.GET))
        return self.page(request, f"{FOLDER}/list.html", f"{FOLDER}/table.html", table, title="Live clients")

    def client_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.check_view(request)
        sid = unquote(object_id)
        context = {"sid": sid, "actions": self.allowed(request), **_detail(sid)}
        if context["client"] is None and "fragment" not in request.GET:
            self.message_user(request, f"{sid}: {context['unavailable']}", messages.WARNING)
            return redirect("admin:monitoring_liveclient_changelist")
        return self.page(request, f"{FOLDER}/client.html", f"{FOLDER}/detail.html", context, title="Live client", subtitle=sid)


def _table(query: Query) -> dict[str, Any]:
    """What the table shows. `unavailable` says why there is nothing to show."""
    try:
        current = snapshot()
    except Unavailable as error:
        return {"query": query, "headers": headers(query), "choices": CHOICES, "unavailable": str(error)}
    page = select(current.clients, query)
    servers = [report.process for report in current.processes if report.kind == "server"]
    return {
        "query": query,
        # Also one that has ended since it was chosen: the form says what the table shows.
        "choices": CHOICES | {"process": sorted({*servers, *filter(None, [query.filters.get("process")])})},
        "headers": headers(query),
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
        "total": len(current.clients),
        "servers": len(servers),
        "at": current.at,
        "refresh_ms": REFRESH_MS if len(current.clients) <= MANY_CLIENTS else SLOW_REFRESH_MS,
    }


def _detail(sid: str) -> dict[str, Any]:
    """What the page of one client shows."""
    try:
        found = describe(sid)
    except Unavailable as error:
        return {"client": None, "unavailable": f"It cannot be read now: {error}"}
    if isinstance(found, ControlReply):
        return {"client": None, "unavailable": NOT_CONNECTED if found.outcome == "refused" else UNHEARD}
    return {"client": found, "refresh_ms": REFRESH_MS}
