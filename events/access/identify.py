"""From a token of any kind to its grant."""

from events.access import signed, store
from events.access.refusal import TokenRefused
from events.access.shared import shared_grant
from events.conf import EventsConfig
from events.domain.grants import Grant


def identify(token: str, config: EventsConfig) -> Grant:
    """The grant of a token. Raises `TokenRefused`, and `Unavailable` when the database cannot be asked."""
    grant = shared_grant(token, config)
    if grant is not None:
        return grant
    if store.is_access_token(token):
        return store.find(token)
    if config.jwt.enabled and signed.looks_signed(token):
        grant = signed.verify(token, config.jwt)
        store.check_login(grant)
        return grant
    raise TokenRefused
