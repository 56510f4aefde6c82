"""`manage.py token create|list|revoke`: access tokens of the database."""

import json
import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from events.access import store
from events.access.models import AccessToken
from events.domain.grants import EVERYTHING
from events.ports import Unavailable
from events.terminal import clean

#: How long a token is valid when nothing else is said.
DEFAULT_EXPIRY: Final = "90d"

_NEVER: Final = "never"
_SCOPES: Final = f"{', '.join(EVERYTHING)}, or a topic such as workflow:arb_* or bot:bot_001"


def expiry(text: str) -> datetime | None:
    """A time from now (`12h`, `90d`), a date or a time in UTC in ISO 8601, or `never`."""
    if text == _NEVER:
        return None
    match = re.fullmatch(r"([0-9]{1,4})([hd])", text)
    try:
        if match is not None:
            return timezone.now() + (timedelta(hours=int(match[1])) if match[2] == "h" else timedelta(days=int(match[1])))
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"{text!r}: write 12h, 90d, a date such as 2027-01-31, or never.") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    if found <= timezone.now():
        raise ArgumentTypeError(f"{text!r} is over: write a time to come.")
    return found


def describe(token: AccessToken) -> dict[str, Any]:
    """What is told of a token: never its secret nor its hash."""

    def at(value: datetime | None) -> str | None:
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if value is not None else None

    return {
        "id": token.pk,
        "name": token.name,
        "status": token.status,
        "scopes": token.scope_list,
        "created": at(token.created_at),
        "expires": at(token.expires_at),
        "last_used": at(token.last_used_at),
        "revoked": at(token.revoked_at),
    }


class Command(BaseCommand):
    help = "Access tokens: create (shown once), list, revoke."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", help="make a token and show it, this once")
        create.add_argument("name", help="what or whom it is for")
        create.add_argument("--scope", dest="scopes", action="append", required=True, help=f"{_SCOPES}; may be repeated")
        create.add_argument("--expires", type=expiry, default=DEFAULT_EXPIRY, help="12h, 90d (default), 2027-01-31, or never")
        listing = actions.add_parser("list", help="all tokens, newest first")
        revoke = actions.add_parser("revoke", help="make a token worth nothing; whoever uses it loses it within 2 seconds")
        revoke.add_argument("id", help="the token's id, from `token list`")
        for action in (create, listing, revoke):
            action.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        actions = {"create": self._create, "list": self._list, "revoke": self._revoke}
        try:
            with store.database():
                actions[options["action"]](options)
        except (store.InvalidScopes, store.UnknownToken, Unavailable) as error:
            raise CommandError(str(error)) from None

    def _create(self, options: dict[str, Any]) -> None:
        name = options["name"].strip()
        if not 0 < len(name) <= 100:
            raise CommandError("The name must have 1 to 100 characters.")
        token, text = store.create(name, options["scopes"], options["expires"])
        if options["json"]:
            self._print(describe(token) | {"token": text})
            return
        end = describe(token)["expires"] or "it is revoked"
        self.stdout.write(
            f"{text}\n\nThis is the only time that the token is shown. Its id is {token.pk}; it is valid until {end}."
        )

    def _list(self, options: dict[str, Any]) -> None:
        tokens = [describe(token) for token in AccessToken.objects.all()]
        if options["json"]:
            self._print(tokens)
            return
        for token in tokens:
            end = f", until {token['expires']}" if token["status"] == "valid" and token["expires"] else ""
            used = token["last_used"] or "never"
            self.stdout.write(f"{token['id']}  {clean(token['name'])}  {token['status']}{end}  last used: {used}")
            self.stdout.write(f"    {clean(', '.join(token['scopes']))}")
        if not tokens:
            self.stdout.write("There are no access tokens. Make one: python manage.py token create NAME --scope all")

    def _revoke(self, options: dict[str, Any]) -> None:
        store.revoke(options["id"])
        if options["json"]:
            self._print({"id": options["id"], "status": "revoked"})
        else:
            self.stdout.write(f"The token {options['id']} is revoked.")

    def _print(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))
