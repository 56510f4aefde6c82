"""The page "Emergency state": what it is, who set it and why, what it was before, and setting it."""

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from events.control import EMERGENCY_STATES, REASON_LENGTH, Emergency, InvalidEmergency, Unavailable, emergencies, set_emergency
from monitoring.actions import Outcome
from monitoring.admin.pages import PageAdmin
from monitoring.models import EmergencyState

FOLDER: Final = "admin/monitoring/emergencystate"

PERMISSION: Final = "set_emergencystate"

QUESTION: Final = {
    "label": "Set the state",
    "question": "Which state is the platform to be in?",
    "hint": "Every client of every server process is told within two seconds. The server itself goes on as before.",
}


class StateForm(forms.Form):
    """What to set. The box is there so that nobody tells everybody by mistake."""

    state = forms.ChoiceField(choices=[(name, name) for name in EMERGENCY_STATES])
    reason = forms.CharField(
        required=False,
        max_length=REASON_LENGTH,
        widget=forms.Textarea({"rows": 3, "class": "vLargeTextField"}),
        help_text="Clients are shown this. Needed unless the state is normal.",
    )
    confirmed = forms.BooleanField(label="Tell every client", error_messages={"required": "Tick this to go on."})


@admin.register(EmergencyState)
class EmergencyStateAdmin(PageAdmin[EmergencyState]):
    """The state at the model's address, and setting it below."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="monitoring_emergencystate_changelist"),
            path("set/", view(self.set_view), name="monitoring_emergencystate_set"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        self.check_view(request)
        context = {"may_set": self.may(request, PERMISSION), **_states()}
        return self.page(request, f"{FOLDER}/page.html", f"{FOLDER}/states.html", context, title="Emergency state")

    def set_view(self, request: HttpRequest) -> HttpResponse:
        """Ask first, then do it, say what became of it, and write it down."""
        if not self.has_view_permission(request) or not self.may(request, PERMISSION):
            raise PermissionDenied
        form = StateForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._set(request, form):
            return redirect("admin:monitoring_emergencystate_changelist")
        back = reverse("admin:monitoring_emergencystate_changelist")
        context = {"action": QUESTION, "form": form, "back": back, "title": QUESTION["label"]}
        return self.whole_page(request, "admin/monitoring/confirm.html", context)

    def _set(self, request: HttpRequest, form: StateForm) -> bool:
        """False when the form has to say why it cannot be."""
        state, reason = form.cleaned_data["state"], form.cleaned_data["reason"]
        try:
            set_emergency(state, reason, by=f"{request.user.get_username()} (admin)")
        except InvalidEmergency as error:
            form.add_error(error.field, str(error))
            return False
        except Unavailable as error:
            level, text = messages.ERROR, f"Nobody can say whether it was set: {error} See what it is, then try again."
        else:
            level, text = messages.SUCCESS, f"The emergency state is {state}."
        self._tell(request, (level, text), reason)
        return True

    def _tell(self, request: HttpRequest, outcome: Outcome, reason: str) -> None:
        level, text = outcome
        self.record(request, EmergencyState(), f"{QUESTION['label']}. {text}{f' Reason: {reason}' if reason else ''}")
        self.message_user(request, text, level)


def _states() -> dict[str, Any]:
    """What the page shows. `unavailable` says why there is nothing to show."""
    try:
        found = emergencies()
    except Unavailable as error:
        return {"unavailable": f"The emergency state cannot be read now: {error}"}
    return {"now": found[0] if found else Emergency(), "before": found[1:], "refresh_ms": 2_000}
