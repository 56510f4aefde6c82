"""What the pages under *Monitoring* have in common: nothing is stored, so nothing is added, changed or deleted, and each page
brings itself up to date by asking for a part of itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:

    class _ModelAdmin(admin.ModelAdmin[M]):
        pass
else:
    # takes a type argument only where types are checked
    from typing import Generic

    class _ModelAdmin(Generic[M], admin.ModelAdmin):
        pass


class PageAdmin(_ModelAdmin[M]):
    """Read only, unless a page offers actions of its own."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def check_view(self, request: HttpRequest) -> None:
        """Raises `PermissionDenied` unless this user may see the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied

    def may(self, request: HttpRequest, codename: str) -> bool:
        """Whether this user has one of the model's own permissions."""
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def page(
        self, request: HttpRequest, template: str, fragment: str, context: Mapping[str, Any], **extra: Any
    ) -> TemplateResponse:
        """A page, or with `fragment` in the query string the part of it that changes."""
        if "fragment" in request.GET:
            return TemplateResponse(request, fragment, {**context, "opts": self.opts})
        return self.whole_page(request, template, {**context, "fragment": fragment, **extra})

    def whole_page(self, request: HttpRequest, template: str, context: Mapping[str, Any]) -> TemplateResponse:
        """A page in the admin's frame."""
        frame = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, {**frame, **context})

    def record(self, request: HttpRequest, thing: M, message: str) -> None:
        """Note in the admin's log what somebody did."""
        if request.user.pk is None:
            raise PermissionDenied
        LogEntry.objects.log_actions(request.user.pk, [thing], CHANGE, message, single_object=True)
