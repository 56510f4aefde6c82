"""System checks: is this configuration safe to serve with? Each message names the variable and the mend.

The ids are stable: they can be looked up, and silenced with Django's SILENCED_SYSTEM_CHECKS. All that is wrong is
reported at once, by every management command and when a server starts.

    events.E001  production without SECRET_KEY            events.W001  production without authentication
    events.E002  production without REDIS_URL             events.W002  a token that can be guessed
    events.E004  production without ALLOWED_HOSTS         events.W003  a short SECRET_KEY
    events.E005  WS_JWT_* that must not be used           events.W004  the browser's Socket.IO client is not installed
    events.E006  production, SECRET_KEY can be guessed    events.W005  a variable that nothing reads
    events.E007  production, a token can be guessed
    events.E010  workers without REDIS_URL
                                                          events.W006  static files are not collected
                                                          events.W007  made-up events in production
                                                          events.W008  any web page may connect in production
                                                          events.W009  no dashboard elsewhere may connect in production
                                                          events.W010  only access tokens of the database get in
                                                          events.W011  signed tokens of any audience and issuer count
                                                          events.W012  workers that share a port behind a proxy
                                                          events.W013  any name for the server counts in production
                                                          events.W014  whoever connects is believed as a proxy
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from events.access.signed import UnsafeKey, key_of
from events.conf import EventsConfig

#: Characters of a token, or of a secret key, below which it can be guessed; 16 random ones cannot be tried out over a network.
MIN_SECRET_LENGTH: Final = 16

#: Characters of a secret key below which it counts as weak: what it signed can be tried out without a network.
GOOD_SECRET_KEY_LENGTH: Final = 32


@checks.register("configuration")
def check_configuration(app_configs: Sequence[AppConfig] | None = None, **_options: Any) -> list[checks.CheckMessage]:
    """All that is to be said about the configuration."""
    config = EventsConfig.from_settings()
    messages = [
        *_authentication(config),
        *_signed_tokens(config),
        *_workers(config),
        *_proxies(config),
        *_unknown_variables(),
        *_browser_client(),
    ]
    return [*messages, *_production(config)] if settings.PRODUCTION else messages


def configuration_errors() -> list[checks.CheckMessage]:
    """What forbids to start, without what was silenced. A server that Django's commands did not start asks for it itself."""
    return [message for message in check_configuration() if message.is_serious() and not message.is_silenced()]


def describe(messages: Sequence[checks.CheckMessage]) -> str:
    """The messages for people, one line each."""
    return "\n".join(f"{message.id}: {message.msg} {message.hint or ''}".rstrip() for message in messages)


def _authentication(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    if config.require_auth and not config.auth_tokens and not config.jwt.enabled:
        yield checks.Warning(
            "Authentication is required, and neither WS_AUTH_TOKEN nor a key for signed tokens is set: "
            "only access tokens of the database get in.",
            hint="Make one: python manage.py token create NAME --scope all. Or set WS_AUTH_TOKEN (openssl rand -hex 32).",
            id="events.W010",
        )
    if any(len(token) < MIN_SECRET_LENGTH for token in config.auth_tokens):
        message = f"WS_AUTH_TOKEN has a token of fewer than {MIN_SECRET_LENGTH} characters; it can be guessed."
        hint = "Set WS_AUTH_TOKEN to what `openssl rand -hex 32` prints."
        yield (
            checks.Error(message, hint, id="events.E007")
            if settings.PRODUCTION
            else checks.Warning(message, hint, id="events.W002")
        )


def _signed_tokens(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    if not config.jwt.enabled:
        return
    try:
        key_of(config.jwt)
    except UnsafeKey as error:
        yield checks.Error(str(error), id="events.E005")
    if not config.jwt.audience and not config.jwt.issuer:
        yield checks.Warning(
            "Signed tokens count whoever issued them and whatever service they are for: one for another service gets in here.",
            hint="Set WS_JWT_AUDIENCE and WS_JWT_ISSUER to what your login writes into tokens for this server.",
            id="events.W011",
        )


def _workers(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    if settings.WS_WORKERS == 1:
        return
    if config.embedded:
        yield checks.Error(
            f"WS_WORKERS is {settings.WS_WORKERS}, but REDIS_URL is not set: no worker would know the others' events.",
            hint="Set REDIS_URL to the Redis in which they meet, or WS_WORKERS=1.",
            id="events.E010",
        )
    if settings.WS_PROXY_HEADERS:
        yield checks.Warning(
            "Workers share their port by the client's address, and behind a proxy every client has the proxy's.",
            hint="Start several servers with a port of their own and list each in the proxy, as deploy/nginx.conf does.",
            id="events.W012",
        )


def _proxies(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    if config.trusted_proxies == ():
        yield checks.Warning(
            "WS_PROXY_HEADERS is on without WS_TRUSTED_PROXIES: whoever connects without the proxy can say who it is.",
            hint="Set WS_TRUSTED_PROXIES to the addresses or networks of your proxies, for example 10.0.0.0/8.",
            id="events.W014",
        )


def _unknown_variables() -> Iterator[checks.CheckMessage]:
    for name, similar in settings.UNKNOWN_VARIABLES.items():
        yield checks.Warning(
            f"The variable {name} is set, but nothing reads it.",
            hint=f"Did you mean {similar}?" if similar else "The file .env.example lists the variables.",
            id="events.W005",
        )


def _browser_client() -> Iterator[checks.CheckMessage]:
    collected = settings.STATIC_ROOT / "vendor" / "socket.io-client"
    if not settings.SOCKET_IO_CLIENT.is_dir() and not (settings.PRODUCTION and collected.is_dir()):
        yield checks.Warning(
            "The browser's Socket.IO client is not installed; the test client page cannot connect.",
            hint="Run `make install`.",
            id="events.W004",
        )


def _production(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    yield from _production_errors(config)
    if not config.require_auth:
        yield checks.Warning(
            "Whoever reaches the server can read all events, publish, and change the emergency state, without any token: "
            "WS_REQUIRE_AUTH is false.",
            hint="Remove WS_REQUIRE_AUTH, and set WS_AUTH_TOKEN (openssl rand -hex 32) or make access tokens.",
            id="events.W001",
        )
    if 0 < len(_secret_key()) < GOOD_SECRET_KEY_LENGTH:
        message = f"SECRET_KEY has fewer than {GOOD_SECRET_KEY_LENGTH} characters; sessions could be forged."
        hint = "Set SECRET_KEY to what `openssl rand -hex 32` prints."
        guessed = len(_secret_key()) < MIN_SECRET_LENGTH
        yield checks.Error(message, hint, id="events.E006") if guessed else checks.Warning(message, hint, id="events.W003")
    yield from _production_leftovers(config)


def _production_errors(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    if not _secret_key():
        yield checks.Error(
            "SECRET_KEY is not set; sessions of the admin cannot be signed.",
            hint="Set SECRET_KEY (or SECRET_KEY_FILE) to what `openssl rand -hex 32` prints.",
            id="events.E001",
        )
    if not config.redis_url:
        yield checks.Error(
            "REDIS_URL is not set; events would live in this process only and be lost when it ends.",
            hint="Set REDIS_URL, for example redis://localhost:6379/0.",
            id="events.E002",
        )
    if tuple(settings.ALLOWED_HOSTS) == settings.LOCAL_HOSTS:
        yield checks.Error(
            "ALLOWED_HOSTS is not set; requests under the server's public name would be refused.",
            hint="Set ALLOWED_HOSTS to the names that clients use, for example ws.example.com.",
            id="events.E004",
        )


def _production_leftovers(config: EventsConfig) -> Iterator[checks.CheckMessage]:
    if not (settings.STATIC_ROOT / "staticfiles.json").is_file():
        yield checks.Warning(
            "Static files are not collected; pages would fail.",
            hint="Run `python manage.py bootstrap`.",
            id="events.W006",
        )
    if config.demo:
        yield checks.Warning(
            "DEMO is on in production: made-up events are mixed with real ones.", hint="Remove DEMO.", id="events.W007"
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield checks.Warning(
            "ALLOWED_HOSTS has * in production: pages of a stranger whose name leads here count as the server's own.",
            hint="Set ALLOWED_HOSTS to the names that clients use, for example ws.example.com.",
            id="events.W013",
        )
    if "*" in config.allowed_origins:
        yield checks.Warning(
            "WS_CORS_ALLOWED_ORIGINS is * in production: any web page may connect from its visitors' browsers.",
            hint="Name the origins of your dashboards, for example https://dash.example.com.",
            id="events.W008",
        )
    if not config.allowed_origins:
        yield checks.Warning(
            "WS_CORS_ALLOWED_ORIGINS is not set: only web pages that this server serves itself may connect.",
            hint="Name the origins of your dashboards, for example https://dash.example.com.",
            id="events.W009",
        )


def _secret_key() -> str:
    try:
        return settings.SECRET_KEY
    except ImproperlyConfigured:
        return ""
