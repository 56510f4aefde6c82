import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.protocol.engineio_request import UNKNOWN_SID, EngineRequest, RequestError, TransportKind, parse_request
from events.protocol.errors import ProtocolError

GOOD = [
    ("GET", b"EIO=4&transport=polling", "http", EngineRequest("polling", None)),
    ("GET", b"transport=polling&t=abc&EIO=4&sid=", "http", EngineRequest("polling", None)),
    ("GET", b"EIO=4&transport=polling&sid=s1", "http", EngineRequest("polling", "s1")),
    ("POST", b"EIO=4&transport=polling&sid=s1", "http", EngineRequest("polling", "s1")),
    ("GET", b"EIO=4&transport=polling&sid=a%20%C3%A9", "http", EngineRequest("polling", "a é")),
    ("GET", b"EIO=4&transport=websocket", "websocket", EngineRequest("websocket", None)),
    ("", b"EIO=4&transport=websocket&sid=s1", "websocket", EngineRequest("websocket", "s1")),
]

BAD = [
    ("GET", b"", "http", 0),
    ("GET", b"EIO=4", "http", 0),
    ("GET", b"EIO=4&transport=abc", "http", 0),
    ("GET", b"EIO=4&transport=webtransport", "websocket", 0),
    ("POST", b"EIO=4&transport=polling", "http", 2),
    ("PUT", b"EIO=4&transport=polling", "http", 2),
    ("PUT", b"EIO=4&transport=polling&sid=s1", "http", 2),
    ("get", b"EIO=4&transport=polling", "http", 2),
    ("GET", b"EIO=4&transport=websocket", "http", 3),
    ("GET", b"EIO=4&transport=websocket&sid=s1", "http", 3),
    ("GET", b"EIO=4&transport=polling", "websocket", 3),
    ("GET", b"EIO=4&transport=polling&" + b"&".join([b"x=1"] * 100), "http", 3),
    ("GET", b"transport=polling", "http", 5),
    ("GET", b"EIO=abc&transport=polling", "http", 5),
    ("GET", b"EIO=3&transport=websocket", "websocket", 5),
    ("GET", b"EIO=%D9%A4&transport=polling", "http", 5),
]


@pytest.mark.parametrize(("method", "query", "kind", "request_"), GOOD)
def test_requests_that_can_be_served(method: str, query: bytes, kind: TransportKind, request_: EngineRequest) -> None:
    assert parse_request(method, query, kind) == request_


@pytest.mark.parametrize(("method", "query", "kind", "code"), BAD)
def test_requests_that_cannot(method: str, query: bytes, kind: TransportKind, code: int) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(method, query, kind)
    assert caught.value.code == code


def test_the_body_that_clients_know() -> None:
    error = UNKNOWN_SID()
    assert isinstance(error, ProtocolError)
    assert (error.code, error.message) == (1, "Session ID unknown")
    assert error.body() == b'{"code":1,"message":"Session ID unknown"}'


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.binary(), st.sampled_from(["http", "websocket"]))
def test_any_query_is_a_request_or_an_error(query: bytes, kind: TransportKind) -> None:
    for query_string in (query, b"EIO=4&transport=polling&sid=" + query):
        with contextlib.suppress(RequestError):
            parse_request("POST", query_string, kind)
