"""The pages "Dead letters" and one for each: what was refused and why, to be published again or discarded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from events.control import LETTER_GONE, ControlReply, discard, republish
from events.stats import Unavailable, dead_letter, dead_letters
from monitoring.admin.pages import PageAdmin
from monitoring.models import DeadLetter

FOLDER: Final = "admin/monitoring/deadletter"
PAGE_SIZE: Final = 50

#: Characters of a document in the list, and on its own page.
EXCERPT: Final = 160
SHOWN: Final = 100_000


@dataclass(frozen=True, slots=True)
class LetterAction:
    """What can be done to a dead letter. `carry_out` raises `Unavailable`."""

    name: str
    permission: str
    label: str
    question: str
    hint: str
    done: str
    carry_out: Callable[[str], ControlReply]


ACTIONS: Final = {
    action.name: action
    for action in (
        LetterAction(
            "republish", "republish_deadletter", "Publish again", "Publish this document again as it is?",
            "It goes onto the bus as if it came now, if the present settings take it, and leaves the dead letters.",
            "It was published again.", republish,
        ),
        LetterAction(
            "discard", "discard_deadletter", "Discard", "Discard this document?",
            "It is gone for good.", "It was discarded.", discard,
        ),
    )
}  # fmt: skip


@admin.register(DeadLetter)
class DeadLetterAdmin(PageAdmin[DeadLetter]):
    """The list at the model's address, a letter below it by its id, and each action below the letter."""

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
        allowed = {name: action for name, action in ACTIONS.items() if self.may(request, action.permission)}
        text = letter.document.decode(errors="replace")
        context = {"letter": letter, "text": text[:SHOWN], "shortened": len(text) > SHOWN, "actions": allowed}
        return self.whole_page(request, f"{FOLDER}/letter.html", {**context, "title": "Dead letter", "subtitle": letter_id})

    def action_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Ask first, then do it, say what became of it, and write it down."""
        action, letter_id = ACTIONS.get(name), unquote(object_id)
        if action is None:
            raise Http404(f"There is no action {name!r}.")
        if not self.has_view_permission(request) or not self.may(request, action.permission):
            raise PermissionDenied
        if request.method == "POST":
            return self._perform(request, action, letter_id)
        context = {"action": action, "letter_id": letter_id, "title": action.label, "subtitle": letter_id}
        return self.whole_page(request, f"{FOLDER}/confirm.html", context)

    def _perform(self, request: HttpRequest, action: LetterAction, letter_id: str) -> HttpResponse:
        try:
            reply = action.carry_out(letter_id)
        except Unavailable as error:
            level, text = messages.ERROR, f"Nobody can say whether it was done: {error}"
        else:
            done = reply.outcome == "done"
            level, text = (messages.SUCCESS, action.done) if done else (messages.ERROR, f"Nothing was done. {reply.detail}")
        self.record(request, DeadLetter(letter_id=letter_id), f"{action.label}. {text}")
        if level == messages.SUCCESS:
            return self._back(request, level, text)
        self.message_user(request, text, level)
        return redirect(reverse("admin:monitoring_deadletter_change", args=[quote(letter_id)]))

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
