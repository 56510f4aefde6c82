"""Access tokens in the database. Synchronous; `events.access.authority` calls it from the event loop.

A token is `wst_<id>_<secret>`: the id is public, the secret is 32 random bytes. The database has its SHA-256: nobody can try
out 2^256 secrets, so a slow hash would protect nothing and would cost every connection (docs/decisions/0007).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Q
from django.utils import timezone

from events.access.models import AccessToken, RevokedLogin
from events.access.refusal import Reason, TokenRefused
from events.domain.grants import CONFIGURED, MAX_SCOPES, Grant, scope_problem
from events.ports import Unavailable

log = structlog.get_logger("events")

#: How every access token begins, so that people and secret scanners recognise one.
PREFIX: Final = "wst"

#: How every id of a signed token begins. No access token's id does.
LOGIN_PREFIX: Final = "jwt-"

#: What follows in it, in hex digits: enough of the token's hash to name it, and far too little to make it.
LOGIN_DIGITS: Final = 24

#: The time of the last use is written at most so often.
USED_INTERVAL: Final = timedelta(minutes=1)

#: A revoked signed token is known for so long after its end. `WS_JWT_LEEWAY_S` is a part of the end, and may be made larger.
KEPT_AFTER_END: Final = timedelta(hours=1)

#: Ids in one query.
CHUNK: Final = 500

_ID: Final = re.compile("[0-9a-f]{16}")
_LOGIN_ID: Final = re.compile(rf"{LOGIN_PREFIX}[0-9a-f]{{{LOGIN_DIGITS}}}")
_TOKEN: Final = re.compile(rf"{PREFIX}_({_ID.pattern})_[A-Za-z0-9_-]{{43}}")

#: For whoever gave something else.
LOGIN_ID_HELP: Final = (
    f"A signed token's id is {LOGIN_PREFIX} and {LOGIN_DIGITS} characters of 0-9 and a-f; logs and lists have it."
)


class UnknownToken(Exception):
    """There is no token of this id, or none that can be revoked. The message says what to do."""


class InvalidScopes(ValueError):
    """Scopes that a token cannot have. The message names the first that is wrong, and the mend."""


# -- made and ended ----------------------------------------------------------------------------------------------------


def create(name: str, scopes: Sequence[str], expires_at: datetime | None = None) -> tuple[AccessToken, str]:
    """A new token, and the text that is shown this once. Raises `InvalidScopes`."""
    check_scopes(scopes)
    identifier = secrets.token_hex(8)
    text = f"{PREFIX}_{identifier}_{secrets.token_urlsafe(32)}"
    token = AccessToken(id=identifier, name=name, digest=_digest(text), scopes="\n".join(scopes), expires_at=expires_at)
    token.save(force_insert=True)
    log.info("token_created", token_id=identifier, name=name)
    return token, text


def check_scopes(scopes: Sequence[str]) -> None:
    """Raises `InvalidScopes` unless these are between 1 and `MAX_SCOPES` scopes."""
    if not 0 < len(scopes) <= MAX_SCOPES:
        raise InvalidScopes(f"A token has 1 to {MAX_SCOPES} scopes; {len(scopes)} were given.")
    problem = next((found for scope in scopes if (found := scope_problem(scope)) is not None), None)
    if problem is not None:
        raise InvalidScopes(problem)


def revoke(token_id: str) -> None:
    """Make a token worth nothing, for ever. Whoever is connected with it loses what it gave within 2 seconds.

    token_id: that of an access token, or of a signed token as lists and logs show it
    Raises `UnknownToken`.
    """
    if is_login_id(token_id):
        RevokedLogin.objects.get_or_create(token_id=token_id)
        # What is revoked is all that makes them more.
        forget_ended_logins()
    elif not AccessToken.objects.filter(pk=token_id).exists():
        raise UnknownToken(_why_unknown(token_id))
    else:
        AccessToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=timezone.now())
    log.info("token_revoked", token_id=token_id)


def _why_unknown(token_id: str) -> str:
    if token_id.startswith(CONFIGURED):
        return "This token is one of WS_AUTH_TOKEN: take it out of that variable and restart the servers."
    if _ID.fullmatch(token_id):
        return f"There is no access token {token_id}: `python manage.py token list` shows all."
    # Not repeated: it may be a whole token.
    return (
        f"This is no id of a token. {LOGIN_ID_HELP} An access token's is 16 of these: `python manage.py token list` shows all."
    )


# -- looked up ---------------------------------------------------------------------------------------------------------


def is_login_id(text: str) -> bool:
    """Whether this is the id of a signed token; whether there is such a token only the login knows."""
    return _LOGIN_ID.fullmatch(text) is not None


def is_access_token(text: str) -> bool:
    """Whether this looks like one of ours; nothing else is looked up."""
    return _TOKEN.fullmatch(text) is not None


def find(text: str) -> Grant:
    """The grant of an access token. Raises `TokenRefused`, and `Unavailable` when the database cannot be asked."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise TokenRefused
    with database():
        token = AccessToken.objects.filter(pk=match[1]).first()
    if token is None or not hmac.compare_digest(token.digest, _digest(text)):
        raise TokenRefused
    grant = _standing(token)
    if isinstance(grant, Reason):
        raise TokenRefused(grant)
    _note_use(token)
    return grant


def check_login(grant: Grant) -> None:
    """Raises `TokenRefused` when a signed token was revoked before its end, and `Unavailable`."""
    with database():
        revoked = RevokedLogin.objects.filter(pk=grant.token_id).first()
    if revoked is None:
        return
    # Once: who has a revoked token may use it as often as he likes, and must not have the database write each time.
    if revoked.expires_at is None and grant.expires_at is not None:
        note_ends({grant.token_id: grant.expires_at})
    raise TokenRefused(Reason.REVOKED)


def current(ids: Sequence[str]) -> Mapping[str, Grant | Reason]:
    """What these tokens are worth now. A signed token is named only when it was revoked. Raises `Unavailable`."""
    found: dict[str, Grant | Reason] = {}
    logins = [token_id for token_id in ids if token_id.startswith(LOGIN_PREFIX)]
    others = [token_id for token_id in ids if not token_id.startswith(LOGIN_PREFIX)]
    with database():
        for part in _chunks(others):
            # Whatever is not found was deleted.
            found |= dict.fromkeys(part, Reason.REVOKED)
            found |= {token.pk: _standing(token) for token in AccessToken.objects.filter(pk__in=part)}
        for part in _chunks(logins):
            found |= {login.pk: Reason.REVOKED for login in RevokedLogin.objects.filter(pk__in=part)}
    return found


def note_ends(ends: Mapping[str, float]) -> None:
    """Remember when revoked tokens would have ended, in Unix seconds by their ids: who revokes one need not know, and who uses
    one does. Ids of other tokens are ignored. Not worth a failure."""
    try:
        for token_id, end in ends.items():
            unknown = RevokedLogin.objects.filter(pk=token_id, expires_at=None)
            unknown.update(expires_at=datetime.fromtimestamp(end, UTC))
    except DatabaseError as error:
        log.warning("token_end_not_noted", reason=str(error))


def forget_ended_logins() -> None:
    """Revoked tokens that have ended anyway need not be known any more."""
    RevokedLogin.objects.filter(expires_at__lt=timezone.now() - KEPT_AFTER_END).delete()


def forget_ended() -> None:
    """Forget revoked tokens and sessions of the admin that have ended; nothing else does, where nobody asks for them any more.
    Raises `Unavailable`."""
    with database():
        forget_ended_logins()
        import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()


@contextmanager
def database() -> Iterator[None]:
    """Raises `Unavailable` with the mend where the database fails."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        mend = "Is DATABASE_URL right, and was `python manage.py migrate` run?"
        raise Unavailable(f"The database of the tokens cannot be asked ({type(error).__name__}). {mend}") from error


def _standing(token: AccessToken) -> Grant | Reason:
    match token.status:
        case "revoked":
            return Reason.REVOKED
        case "expired":
            return Reason.EXPIRED
    expires_at = token.expires_at.timestamp() if token.expires_at is not None else None
    return Grant.of(token.pk, token.name, token.scope_list, expires_at)


def _note_use(token: AccessToken) -> None:
    """Remember that a token was used. Not worth a failure: the database may be busy."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_INTERVAL)
    if token.last_used_at is not None and token.last_used_at >= now - USED_INTERVAL:
        return
    try:
        AccessToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    except DatabaseError as error:
        log.warning("token_use_not_noted", token_id=token.pk, reason=str(error))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
