"""What each client is to get in one step of the hub."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import repeat

from events.fanout.session import Session
from events.fanout.wire import Delivery, Parcel


class Due:
    """Collects deliveries, in order, into one parcel per client.

    Most batches are runs of events for the same audience. Such a run is collected once for all of the audience, and
    looked at client by client only when an event for others comes.
    """

    __slots__ = ("_audience", "_parcels", "_run")

    def __init__(self) -> None:
        #: The audience of the last delivery, and what all of it is to get beyond what is in `_parcels`.
        self._audience: AbstractSet[Session] | None = None
        self._run: Parcel | None = None
        self._parcels: dict[Session, Parcel] = {}

    def add(self, audience: AbstractSet[Session], delivery: Delivery) -> None:
        """One more delivery. An audience is the same when it is the same object, which must not change meanwhile."""
        if audience is self._audience and self._run is not None:
            self._run = Parcel(delivery, self._run)
            return
        self._settle()
        self._audience, self._run = audience, Parcel(delivery)

    def parcels(self) -> Iterable[tuple[Session, Parcel]]:
        """Each client with all that it is to get."""
        if not self._parcels and self._audience is not None and self._run is not None:
            return zip(tuple(self._audience), repeat(self._run), strict=False)
        self._settle()
        return self._parcels.items()

    def _settle(self) -> None:
        """Hand the run to each client of its audience."""
        run, audience, parcels = self._run, self._audience, self._parcels
        if run is None or audience is None:
            return
        if not parcels:
            parcels.update(dict.fromkeys(audience, run))
            return
        # Clients that have the same so far go on to have the same. Kept here and not in the parcels, which would then hold each
        # other until the garbage collector finds them.
        deliveries, longer = run.deliveries, dict[Parcel, Parcel]()
        for session in audience:
            before = parcels.get(session)
            if before is None:
                parcels[session] = run
                continue
            after = longer.get(before)
            if after is None:
                after = longer[before] = before.followed_by(deliveries)
            parcels[session] = after
