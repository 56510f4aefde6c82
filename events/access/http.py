"""Who may call a view: whoever sends `Authorization: Bearer <token>`, and members of staff who are logged in to the admin.

A view derives from `ProtectedView` and names what it needs: `permission_classes = [MayPublish]`. Where no token is required
everybody may do everything, and credentials are not looked at.
"""

from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db import DatabaseError
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import status
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, ErrorDetail, NotAuthenticated, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.access.attempts import TooManyAttempts, attempt
from events.access.identify import identify
from events.access.refusal import Reason, TokenRefused
from events.domain import errors
from events.domain.grants import METRICS, OPEN, OPERATE, PUBLISH, Grant
from events.domain.topics import ALL
from events.ports import Unavailable
from events.wiring import server

#: As what it is counted what became of a token.
KIND: Final = "http_authentications"

MESSAGES: Final = {
    Reason.INVALID: "The token is not valid.",
    Reason.EXPIRED: "The token has expired: get a new one.",
    Reason.REVOKED: "The token was revoked: get a new one.",
}


class ScopeMissing(APIException):
    """The token is valid, and does not allow this."""

    status_code = status.HTTP_403_FORBIDDEN

    def __init__(self, needed: str) -> None:
        super().__init__(
            f"The scope {needed} is needed for that; your token or login does not have it.", errors.INSUFFICIENT_SCOPE.code
        )
        self.needed = needed


# -- who asks ----------------------------------------------------------------------------------------------------------


class BearerToken(BaseAuthentication):
    """`Authorization: Bearer <token>`, with the same tokens that socket clients use. Ignored when none is required."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Grant] | None:
        """Nobody and the token's grant; None when there is nothing to check. Raises `AuthenticationFailed`."""
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
        if not settings.EVENTS.require_auth or scheme.lower() != "bearer":
            return None
        try:
            token = token.strip()
            with attempt(request.META.get("REMOTE_ADDR", ""), settings.EVENTS, token):
                grant = identify(token, settings.EVENTS)
            server.count(KIND, "valid")
            return AnonymousUser(), grant
        except TooManyAttempts as refusal:
            server.count(KIND, "too_many_attempts")
            throttled = Throttled(refusal.wait_s)
            # REST framework's own would tell the wait once more.
            throttled.detail = ErrorDetail(str(refusal), Throttled.default_code)
            raise throttled from None
        except TokenRefused as refusal:
            server.count(KIND, refusal.reason.value)
            raise AuthenticationFailed(MESSAGES[refusal.reason], refusal.reason.value) from None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class StaffSession(SessionAuthentication):
    """A member of staff who is logged in to the admin. Whatever changes something needs the CSRF token of the session."""

    def authenticate(self, request: Request) -> tuple[AbstractUser, Grant] | None:
        if not settings.EVENTS.require_auth:
            return None
        found = super().authenticate(request)
        return (found[0], staff_grant(found[0])) if found is not None and found[0].is_staff else None


def staff_grant(user: AbstractUser) -> Grant:
    """What a member of staff may do: read everything; publish and operate with the permission for it."""
    allowed = [scope for scope in (PUBLISH, OPERATE) if user.has_perm(f"access.{scope}")]
    return Grant.of(f"user-{user.pk}", user.get_username(), (ALL, METRICS, *allowed))


def grant_of(request: Request) -> Grant | None:
    """What whoever sent this request may do; None when that is nothing."""
    if not settings.EVENTS.require_auth:
        return OPEN
    return request.auth if isinstance(request.auth, Grant) else None


def may_read_metrics(request: Request) -> bool:
    """Whether whoever sent this request may. Never raises: who cannot be identified now may not."""
    try:
        grant = grant_of(request)
    except (APIException, Unavailable, DatabaseError):
        return False
    return grant is not None and grant.allows(METRICS)


# -- what a view needs -------------------------------------------------------------------------------------------------


class Authenticated(BasePermission):
    """Any valid token, or staff. `needs` is a scope that the token must have besides."""

    needs: ClassVar[str] = ""

    def has_permission(self, request: Request, view: APIView) -> bool:
        grant = grant_of(request)
        if grant is None:
            raise NotAuthenticated(
                "A token is required: send the header Authorization: Bearer <token>, or log in to the admin."
            )
        if self.needs and not grant.allows(self.needs):
            raise ScopeMissing(self.needs)
        return True


class MayPublish(Authenticated):
    needs = PUBLISH


class MayReadMetrics(Authenticated):
    needs = METRICS


class MayOperate(Authenticated):
    needs = OPERATE


def require_topic(request: Request, topic: str) -> None:
    """Raises `ScopeMissing` when whoever sent this request may not read a topic."""
    grant = grant_of(request)
    if grant is None or not grant.may_subscribe(topic):
        raise ScopeMissing(topic)


#: Of a view's class: no cache keeps its answers, which are for whoever asked.
unstored: Final = method_decorator(cache_control(no_store=True), name="dispatch")


@unstored
class ProtectedView(APIView):
    """A view for those who may. Every failure is an object with a `message`, also those of the framework."""

    authentication_classes = [BearerToken, StaffSession]
    permission_classes = [Authenticated]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Unavailable):
            return Response({"message": str(exc)}, status.HTTP_503_SERVICE_UNAVAILABLE, headers={"Retry-After": "1"})
        response = super().handle_exception(exc)
        response.data = {"message": str(getattr(exc, "detail", exc))}
        if isinstance(exc, ScopeMissing):
            response.data |= {"code": errors.INSUFFICIENT_SCOPE.code, "needed": exc.needed}
        return response


# -- in the OpenAPI schema ---------------------------------------------------------------------------------------------


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its __init_subclass__ has no types
    """The token."""

    target_class = "events.access.http.BearerToken"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "Needed when the server requires authentication."}


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # as above
    """The admin's session."""

    target_class = "events.access.http.StaffSession"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        description = "A member of staff who is logged in to the admin."
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME, "description": description}
