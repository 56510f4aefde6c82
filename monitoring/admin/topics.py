"""The page "Topics": who listens to what, and how much there is to hear."""

import time
from typing import Any, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events.control import listened_topics
from events.stats import Unavailable, last_events
from monitoring.admin.pages import PageAdmin
from monitoring.models import Topic
from monitoring.topic_rows import topic_rows

FOLDER: Final = "admin/monitoring/topic"
PAGE_SIZE: Final = 100


@admin.register(Topic)
class TopicAdmin(PageAdmin[Topic]):
    """The list."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [path("", view(self.changelist_view), name="monitoring_topic_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        self.check_view(request)
        table = _table(request.GET.get("q", "").strip(), request.GET.get("p", "1"))
        return self.page(request, f"{FOLDER}/list.html", f"{FOLDER}/table.html", table, title="Topics")


def _table(search: str, number: str) -> dict[str, Any]:
    """What the list shows. `unavailable` says why there is nothing to show."""
    try:
        listened, silent = listened_topics()
        entries, capacity = last_events()
    except Unavailable as error:
        return {"search": search, "unavailable": f"The topics cannot be read now: {error}"}
    words = search.casefold().split()
    found = topic_rows(listened, entries, capacity, time.time())
    chosen = [row for row in found if all(word in row.name.casefold() for word in words)]
    page = Paginator(chosen, PAGE_SIZE).get_page(number)
    return {
        "search": search,
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
        "silent": silent,
        "refresh_ms": 3_000,
    }
