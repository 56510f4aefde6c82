"""How subscriptions are opened: the same with asyncio and without."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from workflow_events.conversation import Conversation
from workflow_events.items import Missed
from workflow_events.link import Link, Subscriber, websocket_uri
from workflow_events.topics import Position, topics

#: A token, or what gives a new one.
TokenT = TypeVar("TokenT")
SubscriptionT = TypeVar("SubscriptionT")


class Opening(ABC, Generic[TokenT, SubscriptionT]):
    """Subscriptions to one server. Each has a connection of its own, made when it is first iterated.

    url:               `http://localhost:8001`; https, ws and wss do as well, and so does a path before the server's own
    token:             a string, or a function that is asked at each connection and before a token ends
    on_missed:         is called for events that will not come; without it they are logged as warnings
    give_up_s:         raise `ConnectionFailed` when there is no subscription for so long; by default it tries for ever
    max_message_bytes: bound of one message of the server
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenT | None = None,
        on_missed: Callable[[Missed], object] | None = None,
        give_up_s: float | None = None,
        max_message_bytes: int = 64 << 20,
    ) -> None:
        self._link = Link(websocket_uri(url), max_message_bytes, give_up_s, on_missed)
        self._token = token

    def subscribe(
        self,
        *,
        workflow: str | Iterable[str] | None = None,
        bot: str | Iterable[str] | None = None,
        strategy: str | Iterable[str] | None = None,
        everything: bool = False,
        types: Iterable[str] | None = None,
        snapshot: bool = False,
        resume: Position | None = None,
    ) -> SubscriptionT:
        """Events of workflows, bots and strategies, each by one id or several, or of everything. An event of several of them
        comes once.

        types:    only events of these types
        snapshot: let `items()` begin with the states of the executions
        resume:   the `position` of an earlier subscription, to go on from there
        """
        found = topics(everything=everything, workflow=workflow, bot=bot, strategy=strategy)
        conversation = Conversation(found, types=types, snapshot=snapshot, resume=resume, renewable=callable(self._token))
        return self._open(Subscriber(self._link, conversation))

    @abstractmethod
    def _open(self, subscriber: Subscriber) -> SubscriptionT:
        """The subscription over sockets of the one kind or the other."""
