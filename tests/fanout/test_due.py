"""What each client is to get in one step, collected by runs."""

import gc
import random

from events.conf import SessionLimits
from events.domain.entry import Entry
from events.fanout.due import Due
from events.fanout.session import ClientInfo, Session
from events.fanout.wire import Delivery, Dialect, Parcel
from tests.fanout.support import RecordingPipe


def session(sid: str) -> Session:
    return Session(sid, Dialect.PLAIN, RecordingPipe(), SessionLimits(), ClientInfo(), lambda reason: None)


def delivery(number: int) -> Delivery:
    return Delivery(Entry(number, b"{}", ("workflow:a",), (number,)))


def numbers(parcel: Parcel) -> list[int]:
    return [each.entry.number for each in parcel.deliveries]


def test_nothing_is_due_at_first() -> None:
    assert list(Due().parcels()) == []


def test_a_run_for_one_audience_is_one_parcel_for_all_of_it() -> None:
    due, audience = Due(), {session("a"), session("b")}
    for number in range(1, 4):
        due.add(audience, delivery(number))
    parcels = dict(due.parcels())
    assert parcels.keys() == audience
    assert len({id(parcel) for parcel in parcels.values()}) == 1
    assert numbers(next(iter(parcels.values()))) == [1, 2, 3]


def test_what_was_delivered_leaves_nothing_to_the_garbage_collector() -> None:
    first, second = session("a"), session("b")
    gc.collect()
    gc.disable()
    try:
        due = Due()
        for number, audience in enumerate([{first}, {first, second}, {second}, {first, second}], 1):
            due.add(audience, delivery(number))
        assert len(list(due.parcels())) == 2
        del due
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_audience_may_change_while_its_parcels_are_handed_out() -> None:
    due, audience = Due(), {session("a"), session("b")}
    due.add(audience, delivery(1))
    for _ in due.parcels():
        audience.clear()


def test_everybody_gets_its_own_in_order_and_equal_clients_share() -> None:
    chance = random.Random(7)
    sessions = [session(str(number)) for number in range(8)]
    for _ in range(200):
        audiences = [frozenset(chance.sample(sessions, chance.randint(0, 8))) for _ in range(3)]
        due, wanted = Due(), {each: list[int]() for each in sessions}
        for number in range(1, chance.randint(2, 12)):
            audience = chance.choice(audiences)
            due.add(audience, delivery(number))
            for each in audience:
                wanted[each].append(number)
        parcels = dict(due.parcels())
        assert {each: numbers(parcel) for each, parcel in parcels.items()} == {k: v for k, v in wanted.items() if v}
        # Clients that get the same by the same way get what was joined and framed once.
        ways = {each: tuple(each in audience for audience in audiences) for each in parcels}
        assert len({id(parcel) for parcel in parcels.values()}) <= len(set(ways.values()))
