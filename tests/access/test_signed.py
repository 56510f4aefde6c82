"""Signed tokens: what counts, and every way that is known to forge one."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from structlog.testing import capture_logs

from events.access.refusal import Reason, TokenRefused
from events.access.signed import UnsafeKey, key_of, verify
from events.conf import JwtConfig
from events.domain.grants import MAX_SCOPES, METRICS, PUBLISH
from events.domain.timestamps import iso

SECRET: Final = "s" * 32
HMAC: Final = JwtConfig(secret=SECRET, leeway_s=0)
RSA_KEY: Final = rsa.generate_private_key(65_537, 2_048)


def public_pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[no-any-return]


def claims(**fields: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": int(time.time()) + 60, "scope": "workflow:arb_* metrics openid"} | fields


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def refusal(token: str, config: JwtConfig = HMAC) -> Reason:
    with pytest.raises(TokenRefused) as found:
        verify(token, config)
    assert token not in str(found.value)
    return found.value.reason


def test_a_token_gives_what_its_scopes_say() -> None:
    body = claims()
    grant = verify(jwt.encode(body, SECRET), HMAC)
    assert (grant.name, grant.expires_at, grant.topics) == ("ann", body["exp"], ("workflow:arb_*",))
    assert grant.allows(METRICS)
    assert not grant.allows(PUBLISH)
    assert grant.token_id.startswith("jwt-")
    assert verify(jwt.encode(claims(scope=["bot:b 1", 5]), SECRET), HMAC).topics == ("bot:b 1",)
    assert verify(jwt.encode(claims(scope=None), SECRET), HMAC).topics == ()
    other = replace(HMAC, scope_claim="permissions")
    assert verify(jwt.encode(claims(permissions=["all"]), SECRET), other).topics == ("all",)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA_KEY, "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
def test_public_keys(key: Any, algorithm: str) -> None:
    config = JwtConfig(public_key=public_pem(key).replace("\n", "\\n"))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert key_of(config)[1] == (algorithm,)
    assert verify(jwt.encode(claims(), private, algorithm), config).name == "ann"
    assert refusal(jwt.encode(claims(), RSA_KEY if key is not RSA_KEY else _another(), "RS256"), config) is Reason.INVALID


def _another() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


FORGED: Final[dict[str, Callable[[], str]]] = {
    "another secret": lambda: jwt.encode(claims(), "t" * 32),
    "no signature": lambda: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims())}.",
    "no signature, spelt otherwise": lambda: f"{encoded({'alg': 'NonE'})}.{encoded(claims())}.",
    "a signature left out": lambda: jwt.encode(claims(), SECRET).rpartition(".")[0] + ".",
    "claims exchanged": lambda: re.sub(r"\..*\.", f".{encoded(claims(scope='all'))}.", jwt.encode(claims(), SECRET)),
    "a header that is nested deeply": lambda: f"{base64.urlsafe_b64encode(b'[' * 5_000).decode()}.e30.e30",
    "an algorithm that is not configured": lambda: jwt.encode(claims(), SECRET * 2, "HS512"),
    "no end": lambda: jwt.encode({"sub": "ann", "scope": "all"}, SECRET),
    "an end that is no number": lambda: jwt.encode(claims(exp="never"), SECRET, json_encoder=None),
    "not yet": lambda: jwt.encode(claims(nbf=int(time.time()) + 30), SECRET),
    "an end in milliseconds": lambda: jwt.encode(claims(exp=int(time.time() * 1_000)), SECRET),
    "an end that no number has": lambda: jwt.encode(claims(exp=10**400), SECRET),
    "no token": lambda: "a.b.c",
    "not text": lambda: "\ud800.\ud800.\ud800",
}


def test_the_log_says_why_and_not_what() -> None:
    token = jwt.encode(claims(exp=int(time.time() * 1_000)), SECRET)
    with capture_logs() as entries:
        refusal(token)
    assert [entry["event"] for entry in entries] == ["signed_token_refused"]
    assert "milliseconds" in entries[0]["reason"]
    assert token not in str(entries)


def test_another_spelling_of_a_signature_is_the_same_token() -> None:
    token = jwt.encode(claims(), SECRET)
    other = jwt.encode(claims(sub="bob"), SECRET)
    assert verify(f"{token}=", HMAC).token_id == verify(token, HMAC).token_id
    assert verify(other, HMAC).token_id != verify(token, HMAC).token_id


def test_of_very_many_scopes_the_first_count() -> None:
    scopes = ["openid", *(f"bot:b{number}" for number in range(MAX_SCOPES + 1))]
    assert verify(jwt.encode(claims(scope=scopes), SECRET), HMAC).topics == tuple(scopes[1:-1])


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_what_is_forged_is_refused(forge: Callable[[], str]) -> None:
    assert refusal(forge()) is Reason.INVALID


def test_a_public_key_is_no_secret() -> None:
    """The classic confusion: HMAC with the public key, which everybody may know."""
    pem = public_pem(RSA_KEY)
    config = JwtConfig(public_key=pem)
    unsigned = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims())}"
    for key in (pem, pem.strip()):
        digest = hmac.new(key.encode(), unsigned.encode(), hashlib.sha256).digest()
        assert refusal(f"{unsigned}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}", config) is Reason.INVALID


def test_time() -> None:
    late = jwt.encode(claims(exp=int(time.time()) - 5), SECRET)
    assert refusal(late) is Reason.EXPIRED
    assert verify(late, replace(HMAC, leeway_s=60)).name == "ann"


def test_the_last_end_is_that_of_the_year_9999_however_large_the_leeway() -> None:
    last = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    grant = verify(jwt.encode(claims(exp=last), SECRET), replace(HMAC, leeway_s=60))
    assert grant.expires_at == last
    assert iso(grant.expires_at or 0).startswith("9999-12-31T23:59:59")


@pytest.mark.parametrize(("claim", "field"), [("aud", "audience"), ("iss", "issuer")])
def test_audience_and_issuer(claim: str, field: str) -> None:
    wanted: dict[str, Any] = {field: ("events", "metrics")}
    config = replace(HMAC, **wanted)
    assert verify(jwt.encode(claims(**{claim: "events"}), SECRET), config).name == "ann"
    assert refusal(jwt.encode(claims(**{claim: "billing"}), SECRET), config) is Reason.INVALID
    assert refusal(jwt.encode(claims(), SECRET), config) is Reason.INVALID
    # Where none is asked for, any will do.
    assert verify(jwt.encode(claims(**{claim: "billing"}), SECRET), HMAC).name == "ann"


UNSAFE: Final[list[tuple[JwtConfig, str]]] = [
    (JwtConfig(secret="short"), "WS_JWT_SECRET has 5 bytes"),
    (JwtConfig(secret=SECRET, algorithms=("HS512",)), "needs 64"),
    (JwtConfig(secret=SECRET, algorithms=("RS256",)), "WS_JWT_ALGORITHMS has RS256"),
    (JwtConfig(secret=SECRET, algorithms=("HS256", "none")), "WS_JWT_ALGORITHMS has none"),
    (JwtConfig(secret=public_pem(RSA_KEY)), "WS_JWT_PUBLIC_KEY"),
    (JwtConfig(public_key=public_pem(RSA_KEY), algorithms=("HS256",)), "WS_JWT_ALGORITHMS has HS256"),
    (JwtConfig(public_key=public_pem(RSA_KEY), algorithms=("ES256",)), "WS_JWT_ALGORITHMS has ES256"),
    (JwtConfig(public_key=public_pem(RSA_KEY), secret=SECRET), "both set"),
    (JwtConfig(public_key="nonsense"), "no public key in PEM form"),
    (JwtConfig(public_key=public_pem(rsa.generate_private_key(65_537, 1_024))), "1024 bits"),
    (JwtConfig(public_key=public_pem(ec.generate_private_key(ec.SECP256K1()))), "not supported"),
]


@pytest.mark.parametrize(("config", "message"), UNSAFE)
def test_an_unsafe_key_is_used_for_nothing(config: JwtConfig, message: str) -> None:
    with pytest.raises(UnsafeKey) as found:
        key_of(config)
    assert message in str(found.value)
    assert SECRET not in str(found.value)
    with pytest.raises(UnsafeKey):
        verify(jwt.encode(claims(), SECRET), config)


def test_the_key_is_in_no_representation() -> None:
    assert SECRET not in repr(HMAC)
    assert "BEGIN" not in repr(JwtConfig(public_key=public_pem(RSA_KEY)))
