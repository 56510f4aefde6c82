import pytest

from events.protocol.errors import EXCERPT_CHARS, ProtocolError, excerpt


def test_a_protocol_error_is_a_value_error() -> None:
    assert issubclass(ProtocolError, ValueError)


@pytest.mark.parametrize("received", ["x" * 10_000, "\n" * 10_000, b"\x00" * 10_000])
def test_an_excerpt_is_short_and_on_one_line(received: str | bytes) -> None:
    text = excerpt(received)
    assert len(text) <= EXCERPT_CHARS + 3
    assert text.isprintable()


def test_an_excerpt_of_little_is_all_of_it() -> None:
    assert excerpt("2probe") == "'2probe'"
