"""The live-clients table: what a search, filters, an order and a page number select."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.paginator import Page, Paginator

from events.stats import ClientRow

PAGE_SIZE: Final = 100

#: Newest first.
DEFAULT_ORDER: Final = "-connected"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `value` is what it is sorted by."""

    key: str
    label: str
    value: Callable[[ClientRow], Any]


def subscription_count(client: ClientRow) -> int:
    """All subscriptions of a client; the one to everything counts as one."""
    return client.workflows + client.bots + client.strategies + client.everything


#: How a client fares comes before who it is: on a narrow screen the last columns have to be scrolled to.
COLUMNS: Final = (
    Column("sid", "sid", lambda client: client.sid),
    Column("process", "server process", lambda client: client.process),
    Column("transport", "transport", lambda client: client.transport),
    Column("subscriptions", "subscriptions", subscription_count),
    Column("sent", "events sent", lambda client: client.sent),
    Column("backlog", "backlog", lambda client: client.backlog_bytes),
    Column("connected", "connected since", lambda client: client.connected_at),
    Column("authenticated", "authenticated", lambda client: client.authenticated),
    Column("address", "address", lambda client: client.address),
    Column("agent", "user agent", lambda client: client.user_agent.casefold()),
)


#: What can be filtered by, and the values to choose from; those of `process` are the processes there are.
CHOICES: Final[dict[str, Sequence[str]]] = {
    "process": (),
    "transport": ("websocket", "polling", "plain"),
    "authenticated": ("yes", "no"),
    "lagging": ("yes", "no"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for. `order` is a column's key, with `-` before it for the reverse; `page` counts from 1; `filters` has
    the wanted value of some of `CHOICES`."""

    search: str = ""
    order: str = DEFAULT_ORDER
    page: str = "1"
    filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def narrows(self) -> bool:
        """Whether it leaves clients out."""
        return bool(self.search or self.filters)

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> "Query":
        """From a query string's `q`, `o`, `p` and names of filters. What makes no sense there counts as not given."""
        order = params.get("o", DEFAULT_ORDER)
        sortable = order.removeprefix("-") in {column.key for column in COLUMNS}
        filters = {name: params[name] for name, known in CHOICES.items() if _is_choice(params.get(name), known)}
        return cls(params.get("q", "").strip(), order if sortable else DEFAULT_ORDER, params.get("p", "1"), filters)


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a column. `direction` is empty unless the table is sorted by it; `order` is what a click asks for."""

    key: str
    label: str
    direction: str
    order: str


def headers(query: Query) -> list[Header]:
    """The table's head. Clicking the sorted column turns it round."""
    return [_header(column, query) for column in COLUMNS]


def select(clients: Iterable[ClientRow], query: Query) -> Page[ClientRow]:
    """The page of clients that `query` asks for; the nearest page there is when the number is out of range."""
    words = query.search.casefold().split()
    found = [client for client in clients if _passes(client, query.filters) and _matches(client, words)]
    return Paginator(_sorted(found, query.order), PAGE_SIZE).get_page(query.page)


def _header(column: Column, query: Query) -> Header:
    if query.order == column.key:
        return Header(column.key, column.label, "ascending", f"-{column.key}")
    direction = "descending" if query.order == f"-{column.key}" else ""
    return Header(column.key, column.label, direction, column.key)


def _is_choice(value: str | None, known: Sequence[str]) -> bool:
    return bool(value) and (not known or value in known)


def _passes(client: ClientRow, filters: Mapping[str, str]) -> bool:
    return all(_shown(getattr(client, name)) == value for name, value in filters.items())


def _shown(value: str | bool) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else value


def _matches(client: ClientRow, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = (client.sid, client.address, client.user_agent, client.token_id, client.token_name, *client.topics)
    found = "\n".join(text).casefold()
    return all(word in found for word in words)


def _sorted(clients: list[ClientRow], order: str) -> list[ClientRow]:
    column = next(column for column in COLUMNS if column.key == order.removeprefix("-"))
    # Equal values keep one order from refresh to refresh, or rows would dance.
    clients.sort(key=lambda client: client.sid)
    clients.sort(key=column.value, reverse=order.startswith("-"))
    return clients
