"""Pages with things that operators can act on, one at a time."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from monitoring.actions import Action
from monitoring.admin.pages import PageAdmin

M = TypeVar("M", bound=Model)

CONFIRM = "admin/monitoring/confirm.html"


class ActingAdmin(PageAdmin[M]):
    """The thing's own page is called `…_change`. Whoever may act has the action's permission and that to see the page."""

    actions_on_one: ClassVar[Mapping[str, Action]]

    def allowed(self, request: HttpRequest) -> dict[str, Action]:
        """What this user may do."""
        return {name: action for name, action in self.actions_on_one.items() if self.may(request, action.permission)}

    def action_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Ask first, then do it, say what became of it, and write it down."""
        action, key = self.actions_on_one.get(name), unquote(object_id)
        if action is None:
            raise Http404(f"There is no action {name!r}.")
        if not self.has_view_permission(request) or not self.may(request, action.permission):
            raise PermissionDenied
        form = action.form(request.POST if request.method == "POST" else None, initial={"topic": request.GET.get("topic", "")})
        if request.method == "POST" and form.is_valid():
            return self._perform(request, action, key, form.cleaned_data)
        asked = {"action": action, "form": form, "back": self._address_of(key), "key": key}
        return self.whole_page(request, CONFIRM, {**asked, "title": action.label, "subtitle": key})

    def _perform(self, request: HttpRequest, action: Action, key: str, fields: dict[str, Any]) -> HttpResponse:
        level, text = action.perform(key, fields)
        given = ", ".join(f"{name}: {value}" for name, value in fields.items())
        self.record(request, self.model(pk=key), f"{action.label}{f' ({given})' if given else ''}. {text}")
        self.message_user(request, text, level)
        if action.ends and level == messages.SUCCESS:
            return redirect(f"admin:{self._name}_changelist")
        return redirect(self._address_of(key))

    @property
    def _name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def _address_of(self, key: str) -> str:
        return reverse(f"admin:{self._name}_change", args=[quote(key)])
