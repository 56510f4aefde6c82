"""The pages "Executions" and one for each: how far it is, what its nodes did when, and what is odd about it."""

import time
from collections.abc import Mapping
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events.stats import RUNNING, Unavailable, execution, executions, last_events, usual_durations
from monitoring.admin.pages import PageAdmin
from monitoring.gantt import WIDTH, ExecutionRow, bars, flags_of, row, rows
from monitoring.models import Execution

FOLDER: Final = "admin/monitoring/execution"
NOT_KNOWN: Final = "This execution is not known, or had no event for too long."

#: What the list can be narrowed to.
SHOW: Final = ("running", "ended", "flagged")


@admin.register(Execution)
class ExecutionAdmin(PageAdmin[Execution]):
    """The list at the model's address, an execution below it by its id."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="monitoring_execution_changelist"),
            path("<str:object_id>/change/", view(self.execution_view), name="monitoring_execution_change"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        self.check_view(request)
        return self.page(request, f"{FOLDER}/list.html", f"{FOLDER}/table.html", _table(request.GET), title="Executions")

    def execution_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.check_view(request)
        execution_id = unquote(object_id)
        context = _detail(execution_id)
        if context["row"] is None and "fragment" not in request.GET:
            self.message_user(request, f"{execution_id}: {context['unavailable']}", messages.WARNING)
            return redirect("admin:monitoring_execution_changelist")
        context = {**context, "execution_id": execution_id}
        template, fragment = f"{FOLDER}/execution.html", f"{FOLDER}/detail.html"
        return self.page(request, template, fragment, context, title="Execution", subtitle=execution_id)


def _table(params: Mapping[str, str]) -> dict[str, Any]:
    """What the list shows. `unavailable` says why there is nothing to show."""
    search, show = params.get("q", "").strip(), params.get("show", "")
    asked = {"search": search, "show": show, "choices": SHOW}
    try:
        newest = executions()
        found = rows(newest, last_events()[0], usual_durations(newest), time.time())
    except Unavailable as error:
        return {**asked, "unavailable": f"The executions cannot be read now: {error}"}
    chosen = [each for each in found if _is_shown(each, show) and _matches(each, search.casefold().split())]
    return {**asked, "rows": chosen, "total": len(found), "refresh_ms": 3_000}


def _is_shown(each: ExecutionRow, show: str) -> bool:
    match show:
        case "running":
            return each.execution.status == RUNNING
        case "ended":
            return each.execution.status != RUNNING
        case "flagged":
            return bool(each.flags)
        case _:
            return True


def _matches(each: ExecutionRow, words: list[str]) -> bool:
    text = "\n".join((each.execution.execution_id, each.execution.status, *each.execution.topics)).casefold()
    return all(word in text for word in words)


def _detail(execution_id: str) -> dict[str, Any]:
    """What the page of one execution shows."""
    try:
        found = execution(execution_id)
        if found is None:
            return {"row": None, "unavailable": NOT_KNOWN}
        # It may be older than the newest ones.
        typical = usual_durations([*executions(), found[0]])
    except Unavailable as error:
        return {"row": None, "unavailable": f"It cannot be read now: {error}"}
    now, (state, events) = time.time(), found
    return {
        "row": row(state, flags_of(state, events, typical, now), now),
        "bars": bars(state, now),
        "axis": WIDTH,
        "events": events[:-101:-1],
        "known": len(events),
        "refresh_ms": 2_000,
    }
