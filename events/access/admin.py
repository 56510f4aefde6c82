"""The pages "Access tokens" and "Revoked logins" of Django's admin."""

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from events.access import store
from events.access.models import AccessToken, RevokedLogin
from events.domain.grants import EVERYTHING

if TYPE_CHECKING:
    TokenModelAdmin = admin.ModelAdmin[AccessToken]
    LoginModelAdmin = admin.ModelAdmin[RevokedLogin]
    TokenModelForm = forms.ModelForm[AccessToken]
    LoginModelForm = forms.ModelForm[RevokedLogin]
else:
    TokenModelAdmin = LoginModelAdmin = admin.ModelAdmin  # take a type argument only where types are checked
    TokenModelForm = LoginModelForm = forms.ModelForm

CREATED_TEMPLATE: Final = "admin/access/accesstoken/created.html"

SCOPES_HELP: Final = (
    f"One per line: {', '.join(EVERYTHING)}, or a topic in which * stands for any characters, "
    "such as workflow:arb_*, bot:bot_001 or strategy:arbitrage_v1."
)


class AccessTokenForm(TokenModelForm):
    """Name, scopes and end of a token."""

    class Meta:
        model = AccessToken
        fields = ("name", "scopes", "expires_at")
        help_texts = {"scopes": SCOPES_HELP}
        widgets = {"scopes": forms.Textarea(attrs={"rows": 6, "cols": 60, "spellcheck": "false"})}

    def clean_scopes(self) -> str:
        scopes = [line.strip() for line in self.cleaned_data["scopes"].splitlines() if line.strip()]
        try:
            store.check_scopes(scopes)
        except store.InvalidScopes as error:
            raise ValidationError(str(error)) from None
        return "\n".join(scopes)

    def clean_expires_at(self) -> Any:
        end = self.cleaned_data["expires_at"]
        if end is not None and "expires_at" in self.changed_data and end <= timezone.now():
            raise ValidationError("This time is over: write a time to come, or revoke the token.")
        return end


@admin.register(AccessToken)
class AccessTokenAdmin(TokenModelAdmin):
    """A new token is shown once, in the answer to the form. Changes count for connected clients within 2 seconds."""

    form = AccessTokenForm
    list_display = ("name", "id", "status", "scope_summary", "expires_at", "last_used_at", "created_at")
    search_fields = ("name", "id", "scopes")
    readonly_fields = ("id", "status", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke_selected",)

    @admin.display(description="scopes")
    def scope_summary(self, token: AccessToken) -> str:
        first, *others = token.scope_list or [""]
        return f"{first} and {len(others)} more" if others else first

    def get_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> tuple[str, ...]:
        return (*AccessTokenForm.Meta.fields, *(self.readonly_fields if obj is not None else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> tuple[str, ...]:
        # A revoked token has no future that could be changed.
        revoked = obj is not None and obj.revoked_at is not None
        return (*self.readonly_fields, *(AccessTokenForm.Meta.fields if revoked else ()))

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        made, text = store.create(obj.name, obj.scope_list, obj.expires_at)
        # The form's object becomes the one that was saved, so that the admin's log names it.
        obj.__dict__.update(made.__dict__)
        # Kept for the answer to this request, and nowhere else.
        request.new_token = text  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: AccessToken, post_url_continue: str | None = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "The new token",
            "opts": self.opts,
            "token": obj,
            "text": request.new_token,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, CREATED_TEMPLATE, context)

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[AccessToken]) -> None:
        for token in queryset:
            store.revoke(token.pk)
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"{len(queryset)} revoked. Whoever used them loses them within 2 seconds.", messages.SUCCESS)


class RevokedLoginForm(LoginModelForm):
    """The id of a signed token. Nothing else is stored: it might be a whole token, which lists would show."""

    class Meta:
        model = RevokedLogin
        fields = ("token_id",)
        help_texts = {"token_id": store.LOGIN_ID_HELP}

    def clean_token_id(self) -> str:
        token_id: str = self.cleaned_data["token_id"]
        if not store.is_login_id(token_id):
            raise ValidationError(f"This is no id of a signed token. {store.LOGIN_ID_HELP}")
        return token_id


@admin.register(RevokedLogin)
class RevokedLoginAdmin(LoginModelAdmin):
    """Signed tokens that were revoked before their end."""

    form = RevokedLoginForm
    list_display = ("token_id", "revoked_at", "expires_at")
    search_fields = ("token_id",)

    def save_model(self, request: HttpRequest, obj: RevokedLogin, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        store.forget_ended_logins()

    def has_change_permission(self, request: HttpRequest, obj: RevokedLogin | None = None) -> bool:
        return False
