"""What is asked of a server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Clients, their subscriptions, and the events that are published.

    clients:     sockets
    topics:      workflows that events are published for, in turn; topic k has the ids wf_<k>, bot_<k> and strategy_<k>
    each:        topics that each client subscribes to: client i to (i * each + j) % topics
    kinds:       what it subscribes to of each topic: `workflow`, or also its `bot` and its `strategy`
    rate:        events per second over all topics
    event_bytes: the size of an event as it is published; the smallest possible where that is larger
    window:      sockets that are on their way to a subscription at once; 0 for all at once
    replay:      events that are published before anybody subscribes, and that each client gets as recent events
    workers:     server processes on the one port
    """

    clients: int = 200
    topics: int = 1
    each: int = 1
    kinds: tuple[str, ...] = ("workflow",)
    rate: float = 100.0
    event_bytes: int = 350
    window: int = 200
    replay: int = 0
    workers: int = 1

    @property
    def receivers(self) -> float:
        """Clients that an event goes to, on the average."""
        return self.clients * self.each / self.topics

    def events(self, seconds: float) -> int:
        """Events that are published in so many seconds: at least one."""
        return max(1, round(self.rate * seconds))

    def deliveries(self, first: int, count: int) -> int:
        """How often `count` events are delivered in all, the first of which has the number `first` over all topics."""
        turns, rest = divmod(count, self.topics)
        ragged = sum(self._receivers_of((first + place) % self.topics) for place in range(rest))
        return turns * self.clients * self.each + ragged

    def _receivers_of(self, topic: int) -> int:
        whole, rest = divmod(self.clients * self.each, self.topics)
        return whole + (topic < rest)
