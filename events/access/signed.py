"""Signed tokens (JWT) of the platform's own login: checked with a key, so no table is needed.

The algorithms are those of the configured key's kind and no others, whatever the token's header says: a token cannot choose
to be checked in another way (no `none`, no public key taken for an HMAC secret).
"""

import hashlib
from typing import Any, Final

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from events.access.refusal import Reason, TokenRefused
from events.access.store import LOGIN_DIGITS, LOGIN_PREFIX
from events.conf import JwtConfig
from events.domain.grants import Grant

log = structlog.get_logger("events")

#: Bytes that an HMAC secret must have per algorithm, as RFC 7518 asks: the size of its hash.
HMAC_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}

#: What each kind of public key can check.
_EC: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

#: Bits below which an RSA key can be broken.
RSA_BITS: Final = 2_048

#: The end of time, for dates: that of the year 9999. A later end is a mistake, such as milliseconds.
_LAST_END: Final = 253_402_300_799


class UnsafeKey(ValueError):
    """A `WS_JWT_*` configuration that must not be used. The message names the variable and the mend, and no secret."""


def looks_signed(token: str) -> bool:
    return token.count(".") == 2


def key_of(config: JwtConfig) -> tuple[Any, tuple[str, ...]]:
    """The key, and the algorithms that it is used with. Raises `UnsafeKey`."""
    if config.secret and config.public_key:
        raise UnsafeKey("WS_JWT_SECRET and WS_JWT_PUBLIC_KEY are both set: keep the one that your login signs with.")
    key, possible, default = _hmac_key(config) if config.secret else _public_key(config)
    wrong = [name for name in config.algorithms if name not in possible]
    if wrong:
        kind = "WS_JWT_SECRET" if config.secret else "this WS_JWT_PUBLIC_KEY"
        raise UnsafeKey(f"WS_JWT_ALGORITHMS has {wrong[0]}, but {kind} is for {', '.join(possible)}.")
    return key, config.algorithms or (default,)


def _hmac_key(config: JwtConfig) -> tuple[bytes, tuple[str, ...], str]:
    secret = config.secret.encode()
    if b"-----BEGIN" in secret:
        raise UnsafeKey("WS_JWT_SECRET holds a key in PEM form: a public key belongs into WS_JWT_PUBLIC_KEY.")
    needed = max(HMAC_BYTES.get(name, 0) for name in (config.algorithms or ("HS256",)))
    if len(secret) < needed:
        raise UnsafeKey(
            f"WS_JWT_SECRET has {len(secret)} bytes; its algorithm needs {needed}, or the secret can be found from one token. "
            "Use what `openssl rand -hex 64` prints, here and where the tokens are signed."
        )
    return secret, tuple(HMAC_BYTES), "HS256"


def _public_key(config: JwtConfig) -> tuple[Any, tuple[str, ...], str]:
    # In a variable of one line, line ends are written as \n.
    pem = config.public_key.replace("\\n", "\n").encode()
    try:
        key = load_pem_public_key(pem)
    except Exception:
        raise UnsafeKey("WS_JWT_PUBLIC_KEY is no public key in PEM form (-----BEGIN PUBLIC KEY-----).") from None
    match key:
        case RSAPublicKey() if key.key_size >= RSA_BITS:
            return key, _RSA, "RS256"
        case RSAPublicKey():
            raise UnsafeKey(f"WS_JWT_PUBLIC_KEY is an RSA key of {key.key_size} bits; at least {RSA_BITS} are needed.")
        case EllipticCurvePublicKey() if key.curve.name in _EC:
            return key, (_EC[key.curve.name],), _EC[key.curve.name]
        case Ed25519PublicKey() | Ed448PublicKey():
            return key, ("EdDSA",), "EdDSA"
    raise UnsafeKey("WS_JWT_PUBLIC_KEY is of a kind that is not supported: use RSA, P-256, P-384, P-521 or Ed25519.")


def verify(token: str, config: JwtConfig) -> Grant:
    """The grant of a signed token. Raises `TokenRefused`."""
    key, algorithms = key_of(config)
    options: Any = {"require": ["exp"], "verify_aud": bool(config.audience), "verify_iss": bool(config.issuer)}
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            audience=list(config.audience) or None,
            issuer=list(config.issuer) or None,
            leeway=config.leeway_s,
            options=options,
        )
        expires_at = min(_end_of(claims) + config.leeway_s, _LAST_END)
    except jwt.ExpiredSignatureError:
        raise TokenRefused(Reason.EXPIRED) from None
    except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError) as error:
        # The client is not told why, as it might be guessing; whoever runs the login has to know. Behind a colon stands
        # what the token says.
        log.info("signed_token_refused", reason=str(error).partition(":")[0])
        raise TokenRefused from None
    name = str(claims.get("name") or claims.get("sub") or "login")[:100]
    return Grant.of(_id_of(token), name, scopes_of(claims.get(config.scope_claim)), expires_at)


def _end_of(claims: dict[str, Any]) -> float:
    """Unix time. Raises `ValueError` for one that is no date."""
    end = int(claims["exp"])
    if end > _LAST_END:
        raise ValueError("exp is after the year 9999, as if it counted milliseconds")
    return float(claims["exp"])


def _id_of(token: str) -> str:
    """Of what was signed. The signature can be written in several ways that are all valid: were it a part of the id, who has a
    revoked token could go on with another spelling of it."""
    signed, _, _ = token.rpartition(".")
    return LOGIN_PREFIX + hashlib.sha256(signed.encode()).hexdigest()[:LOGIN_DIGITS]


def scopes_of(claim: Any) -> list[str]:
    """Scopes of a claim: a list of texts, or one text with spaces between them. A token without any may do nothing."""
    if isinstance(claim, str):
        return claim.split()
    return [item for item in claim if isinstance(item, str)] if isinstance(claim, list) else []
