"""Search, order and pages of the live-clients table."""

import pytest

from monitoring.listing import COLUMNS, DEFAULT_ORDER, PAGE_SIZE, Query, headers, select
from tests.monitoring.rows import row

CLIENTS = [
    row("s1", "web-1", address="192.0.2.1", sent=30, connected_at=10.0, user_agent="curl/8", topics=["bot:Alpha"]),
    row("s2", "web-2", address="192.0.2.2", sent=10, connected_at=30.0, backlog_bytes=5),
    row(
        "s3",
        "web-1",
        address="198.51.100.3",
        sent=20,
        connected_at=20.0,
        transport="polling",
        authenticated=False,
        token_id="tok-7",
        token_name="Wall screen",
    ),
]


def sids(**params: str) -> list[str]:
    return [client.sid for client in select(CLIENTS, Query.from_params(params))]


def test_the_newest_comes_first() -> None:
    assert sids() == ["s2", "s3", "s1"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("s3", ["s3"]),
        ("192.0.2", ["s2", "s1"]),
        ("CURL", ["s1"]),
        ("bot:alpha", ["s1"]),
        ("tok-7", ["s3"]),
        ("wall SCREEN", ["s3"]),
        ("192.0.2 curl", ["s1"]),
        ("  ", ["s2", "s3", "s1"]),
        ("web-1", []),
        ("nobody", []),
    ],
)
def test_search_finds_sid_address_agent_token_and_topic(search: str, found: list[str]) -> None:
    assert sids(q=search) == found


@pytest.mark.parametrize(
    ("order", "first"),
    [("sent", "s2"), ("-sent", "s1"), ("connected", "s1"), ("-backlog", "s2"), ("authenticated", "s3"), ("transport", "s3")],
)
def test_order(order: str, first: str) -> None:
    assert sids(o=order)[0] == first


@pytest.mark.parametrize("column", [column.key for column in COLUMNS])
def test_every_column_sorts_both_ways(column: str) -> None:
    assert sorted(sids(o=column)) == sorted(sids(o=f"-{column}")) == ["s1", "s2", "s3"]


@pytest.mark.parametrize("order", ["", "-", "nonsense", "--sent", "__class__"])
def test_an_unknown_order_is_the_default(order: str) -> None:
    assert Query.from_params({"o": order}).order == DEFAULT_ORDER


@pytest.mark.parametrize(("page", "number"), [("1", 1), ("3", 3), ("99", 3), ("0", 3), ("x", 1), ("", 1)])
def test_pages(page: str, number: int) -> None:
    many = [row(f"s{index:03}", "web-1") for index in range(2 * PAGE_SIZE + 1)]
    selected = select(many, Query.from_params({"o": "sid", "p": page}))
    assert selected.number == number
    assert len(selected) == (1 if number == 3 else PAGE_SIZE)
    assert selected.paginator.count == len(many)


def test_the_sorted_column_offers_the_reverse() -> None:
    by_key = {header.key: header for header in headers(Query(order="-sent"))}
    assert (by_key["sent"].direction, by_key["sent"].order) == ("descending", "sent")
    assert (by_key["sid"].direction, by_key["sid"].order) == ("", "sid")
    assert headers(Query(order="sid"))[0].order == "-sid"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"process": "web-1"}, ["s3", "s1"]),
        ({"process": "gone"}, []),
        ({"transport": "polling"}, ["s3"]),
        ({"authenticated": "no"}, ["s3"]),
        ({"authenticated": "yes", "process": "web-1"}, ["s1"]),
        ({"lagging": "yes"}, []),
        ({"lagging": "no"}, ["s2", "s3", "s1"]),
        ({"lagging": "perhaps", "transport": "pigeon", "process": ""}, ["s2", "s3", "s1"]),
        ({"process": "web-1", "q": "curl"}, ["s1"]),
    ],
)
def test_filters(filters: dict[str, str], found: list[str]) -> None:
    assert sids(**filters) == found


def test_ten_thousand_clients() -> None:
    """Every client is on exactly one page, and pages are in order, whatever the table is sorted by."""
    clients = [row(f"s{number:05}", f"web-{number % 4}", sent=number % 97, lagging=not number % 5) for number in range(10_000)]
    listed = [client.sid for page in range(1, 101) for client in select(clients, Query(order="-sent", page=str(page)))]
    assert len(set(listed)) == 10_000
    for column in COLUMNS:
        pages = [select(clients, Query(order=f"-{column.key}", page=page)) for page in ("1", "50", "100")]
        values = [column.value(client) for page in pages for client in page]
        assert values == sorted(values, reverse=True)
    assert select(clients, Query(filters={"lagging": "yes", "process": "web-0"})).paginator.count == 500
