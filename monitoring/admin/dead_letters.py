"""The pages "Dead letters" and one for each: what was refused and why, to be published again or discarded."""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from events.control import LETTER_GONE, discard, republish
from events.stats import Unavailable, dead_letter, dead_letters
from monitoring.actions import Action, ConfirmForm
from monitoring.admin.acting import ActingAdmin
from monitoring.models import DeadLetter

FOLDER: Final = "admin/monitoring/deadletter"
PAGE_SIZE: Final = 50

#: Characters of a document in the list, and on its own page.
EXCERPT: Final = 160
SHOWN: Final = 100_000


ACTIONS: Final = {
    action.name: action
    for action in (
        Action(
            "republish", "republish_deadletter", "Publish again", "Publish this document again as it is?",
            "It goes onto the bus as if it came now, if the present settings take it, and leaves the dead letters.",
            "It was published again.", ConfirmForm, lambda letter_id, fields: republish(letter_id), ends=True,
        ),
        Action(
            "discard", "discard_deadletter", "Discard", "Discard this document?",
            "It is gone for good.", "It was discarded.", ConfirmForm, lambda letter_id, fields: discard(letter_id), ends=True,
        ),
    )
}  # fmt: skip


@admin.register(DeadLetter)
class DeadLetterAdmin(ActingAdmin[DeadLetter]):
    """The list at the model's address, a letter below it by its id, and each action below the letter."""

    actions_on_one = ACTIONS

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="monitoring_deadletter_changelist"),
            path("<str:object_id>/change/", view(self.letter_view), name="monitoring_deadletter_change"),
            path("<str:object_id>/<str:name>/", view(self.action_view), name="monitoring_deadletter_action"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        self.check_view(request)
        table = _table(request.GET.get("before", ""))
        return self.page(request, f"{FOLDER}/list.html", f"{FOLDER}/table.html", table, title="Dead letters")

    def letter_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.check_view(request)
        letter_id = unquote(object_id)
        try:
            letter = dead_letter(letter_id)
        except Unavailable as error:
            return self._back(request, messages.ERROR, f"The dead letter cannot be read now: {error}")
        if letter is None:
            return self._back(request, messages.WARNING, LETTER_GONE)
        text = letter.document.decode(errors="replace")
        context = {"letter": letter, "text": text[:SHOWN], "shortened": len(text) > SHOWN, "actions": self.allowed(request)}
        return self.whole_page(request, f"{FOLDER}/letter.html", {**context, "title": "Dead letter", "subtitle": letter_id})

    def _back(self, request: HttpRequest, level: int, text: str) -> HttpResponse:
        self.message_user(request, text, level)
        return redirect("admin:monitoring_deadletter_changelist")


def _table(before: str) -> dict[str, Any]:
    """What the list shows; `before` is the id of the last letter of the page before."""
    try:
        # One more than is shown tells whether there is another page.
        letters, total = dead_letters(PAGE_SIZE + 1, before)
    except Unavailable as error:
        return {"unavailable": f"The dead letters cannot be read now: {error}", "before": before}
    rows = [(letter, letter.document[: 4 * EXCERPT].decode(errors="replace")[:EXCERPT]) for letter in letters[:PAGE_SIZE]]
    older = rows[-1][0].letter_id if len(letters) > PAGE_SIZE else ""
    return {"rows": rows, "total": total, "older": older, "before": before, "refresh_ms": 5_000}
