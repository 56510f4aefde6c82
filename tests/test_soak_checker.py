"""The soak's own judgement: a loss, a double and a swap are seen as what they are, and nothing else is."""

import asyncio
import struct
from collections.abc import Iterable
from random import Random
from typing import Any

import orjson
import pytest

from events.protocol.errors import ProtocolError
from events.soak import wire
from events.soak.client import SoakClient
from events.soak.faults import Fault
from events.soak.latency import Latencies
from events.soak.ledger import Published, Stream, Verdict
from events.soak.plan import FAULTS, SoakPlan
from events.soak.report import Report
from events.soak.traffic import FIELD, Catalogue, Traffic, subscriptions

# -- one stream --------------------------------------------------------------------------------------------------------


def published(count: int) -> Published:
    """Events 1 to `count`; the odd ones are in topic `a`, the even ones in `b`."""
    ledger = Published()
    for number in range(1, count + 1):
        ledger.add(("all", "a" if number % 2 else "b"))
    return ledger


def verdict(numbers: Iterable[int], *, topic: str = "all", count: int = 8) -> Verdict:
    stream = Stream(published(count).of(topic), from_start=True)
    for number in numbers:
        stream.take(number)
    return stream.verdict()


def test_a_whole_stream_is_clean() -> None:
    found = verdict(range(1, 9))
    assert found == Verdict(expected=8, delivered=8, lost=(), told=0, doubled=0, disordered=0, stray=0)
    assert found.clean
    assert verdict((2, 4, 6, 8), topic="b").clean


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [((1, 2, 4, 5, 6, 7, 8), (3,)), ((2, 3, 4, 5, 6, 7, 8), (1,)), ((1, 2, 3, 4, 5), (6, 7, 8)), ((), tuple(range(1, 9)))],
    ids=["in the middle", "at the beginning", "at the end", "all of them"],
)
def test_a_loss_is_seen(numbers: tuple[int, ...], lost: tuple[int, ...]) -> None:
    found = verdict(numbers)
    assert found.lost == lost
    assert (found.doubled, found.disordered) == (0, 0)
    assert not found.clean


@pytest.mark.parametrize("numbers", [(1, 2, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 1, 5, 6, 7, 8)], ids=["at once", "later"])
def test_a_double_is_seen(numbers: tuple[int, ...]) -> None:
    found = verdict(numbers)
    assert (found.doubled, found.delivered, found.lost, found.disordered) == (1, 8, (), 0)
    assert not found.clean


def test_a_swap_is_seen() -> None:
    found = verdict((1, 2, 4, 3, 5, 6, 7, 8))
    assert (found.disordered, found.delivered, found.lost, found.doubled) == (1, 8, (), 0)
    assert not found.clean


def test_each_kind_is_counted_by_itself() -> None:
    found = verdict((1, 3, 2, 2, 5, 6, 7, 8))
    assert (found.lost, found.doubled, found.disordered) == ((4,), 1, 1)


def test_an_event_of_another_topic_is_out_of_place() -> None:
    found = verdict((2, 3, 4, 6, 8), topic="b")
    assert (found.stray, found.lost) == (1, ())
    assert not found.clean


def test_what_was_told_is_not_lost() -> None:
    stream = Stream(published(8).of("all"), from_start=True)
    stream.take(1)
    stream.tell(skip=0, count=2)
    stream.take(4)
    stream.take(6)
    found = stream.verdict()
    assert (found.told, found.lost) == (2, (5, 7, 8))


def test_an_unknown_gap_ends_with_the_next_live_event() -> None:
    stream = Stream(published(8).of("all"), from_start=True)
    stream.take(1)
    stream.tell_unknown()
    stream.take(3)
    assert stream.excused
    stream.live(5)
    stream.take(5)
    stream.take(8)
    found = stream.verdict()
    assert (found.told, found.lost) == (2, (6, 7))


class TestALateClient:
    def test_begins_with_its_replay(self) -> None:
        ledger = published(4)
        stream = Stream(ledger.of("all"), from_start=False)
        stream.subscribed()
        for number in (3, 4):
            stream.take(number)
        assert stream.complete
        found = stream.verdict()
        assert (found.expected, found.clean) == (2, True)

    def test_gets_everything_from_its_subscription_on(self) -> None:
        ledger = published(4)
        stream = Stream(ledger.of("all"), from_start=False)
        stream.subscribed()
        for _ in range(2):
            ledger.add(("all",))
        stream.take(6)
        assert stream.verdict().lost == (5,)

    def test_that_never_got_in_has_lost_all_since_it_tried(self) -> None:
        ledger = published(2)
        stream = Stream(ledger.of("all"), from_start=False)
        ledger.add(("all",))
        assert not stream.complete
        assert stream.verdict().lost == (3,)


# -- one client --------------------------------------------------------------------------------------------------------

WORKFLOW, BOT = "workflow:w", "bot:b"


class Script:
    """A client without a connection, and the server's side of what it gets. Workflow `w` belongs to bot `b`."""

    def __init__(self, *topics: str) -> None:
        self.ledger = Published()
        self.client = SoakClient("client-0", "websocket", (1,), Random(1))
        self.client.subscribe(topics, self.ledger, from_start=True)
        self.offsets = {"all": 0, "workflow": 0, "bot": 0}
        self.say("connected", {})

    def say(self, name: str, data: dict[str, Any]) -> None:
        self.client._take(b"2" + orjson.dumps([name, data]))

    def subscribed(self, topic: str, *, offset: int = 0, recovered: bool = False) -> None:
        kind, _, identifier = topic.partition(":")
        self.say("subscribed", {"type": kind, f"{kind}_id": identifier, "epoch": "e", "offset": offset, "recovered": recovered})

    def publish(self, workflow: str = "w") -> dict[str, Any]:
        """One more event of the bot."""
        number = self.ledger.add(("all", f"workflow:{workflow}", BOT))
        kinds = ("all", "bot", "workflow") if workflow == "w" else ("all", "bot")
        for kind in kinds:
            self.offsets[kind] += 1
        counts = {"n": number, "run": 1, "seq": number, "at": 0}
        return {"workflow_id": workflow, "bot_id": "b", "event_id": f"e-{number}", "offsets": dict(self.offsets), FIELD: counts}

    def live(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.say("workflow_event", event)

    def replay(self, *events: dict[str, Any]) -> None:
        self.say("recent_events", {"events": list(events), "count": len(events)})

    def cut(self) -> None:
        self.client._cut()
        self.say("connected", {})

    def verdicts(self) -> list[Verdict]:
        return [subscription.stream.verdict() for subscription in self.client.subscriptions]


def test_a_resumed_client_is_clean() -> None:
    script = Script(WORKFLOW)
    script.subscribed(WORKFLOW)
    events = [script.publish() for _ in range(4)]
    script.live(events[0])
    script.cut()
    assert b'"offset":1' in script.client.subscriptions[0].command(0)
    script.subscribed(WORKFLOW, offset=3, recovered=True)
    script.replay(*events[1:3])
    script.live(events[3])
    assert script.verdicts()[0].clean
    assert (script.client.tally.recovered, script.client.tally.resumed) == (1, 2)


def test_a_replay_that_repeats_what_the_client_had_is_a_double() -> None:
    script = Script(WORKFLOW)
    script.subscribed(WORKFLOW)
    events = [script.publish() for _ in range(2)]
    script.live(*events)
    script.cut()
    script.subscribed(WORKFLOW, offset=2, recovered=True)
    script.replay(events[1])
    assert script.verdicts()[0].doubled == 1


def test_overlapping_topics_may_repeat_the_overlap_when_they_resume() -> None:
    script = Script(WORKFLOW, BOT)
    script.subscribed(WORKFLOW)
    script.subscribed(BOT)
    events = [script.publish(workflow) for workflow in ("w", "other", "w", "other", "w")]
    script.live(events[0])
    script.cut()
    script.subscribed(WORKFLOW, offset=2, recovered=True)
    script.replay(events[2])
    # Live for the workflow, while the bot's replay is still to come.
    script.live(events[4])
    assert script.client.subscriptions[1].offset == 1
    script.subscribed(BOT, offset=5, recovered=True)
    script.replay(*events[1:5])
    assert all(found.clean for found in script.verdicts())
    assert script.client.tally.stray == 0


def test_a_hole_in_the_live_stream_is_a_loss() -> None:
    script = Script(BOT)
    script.subscribed(BOT)
    events = [script.publish() for _ in range(3)]
    script.live(events[0], events[2])
    assert script.verdicts()[0].lost == (2,)


def test_a_told_range_is_taken_by_its_offsets() -> None:
    script = Script(BOT)
    script.subscribed(BOT)
    events = [script.publish() for _ in range(5)]
    script.live(events[0])
    script.say("events_missed", {"type": "bot", "bot_id": "b", "from": 2, "to": 3, "reason": "r", "epoch": "e"})
    script.live(*events[3:])
    found = script.verdicts()[0]
    assert (found.told, found.lost) == (2, ())


def test_live_events_before_the_subscription_are_out_of_place() -> None:
    script = Script(BOT)
    script.live(script.publish())
    assert script.client.tally.stray == 1


def test_an_answer_that_is_not_as_documented_is_a_breach() -> None:
    script = Script(BOT)
    with pytest.raises(ProtocolError, match="subscribed is not as documented"):
        script.say("subscribed", {"type": "bot", "bot_id": "b"})


# -- traffic, latencies, wire ------------------------------------------------------------------------------------------


def test_runs_are_whole_and_numbered() -> None:
    ledger = Published()
    traffic = Traffic(Catalogue(10), ledger, Random(1))
    drafts = [traffic.next() for _ in range(500)]
    assert [draft.number for draft in drafts] == list(range(1, 501))
    for run in range(1, 5):
        steps = [draft for draft in drafts if draft.run == run]
        assert [step.seq for step in steps] == list(range(1, len(steps) + 1))
        assert [steps[0].fields["type"], steps[-1].fields["type"]] == ["execution_started", "execution_completed"]
    event = orjson.loads(drafts[0].document())
    assert event[FIELD]["n"] == 1
    assert len(ledger.of("all")) == 500


def test_six_clients_take_every_kind_of_topic() -> None:
    topics = [topic for client in range(6) for topic in subscriptions(Catalogue(50), client)]
    assert {topic.partition(":")[0] for topic in topics} == {"all", "workflow", "bot", "strategy"}


def test_a_percentile_is_exact_to_within_five_per_cent() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1_001):
        latencies.add(milliseconds / 1_000)
    assert latencies.percentile_ms(0.5) == pytest.approx(500, rel=0.05)
    assert latencies.percentile_ms(0.99) == pytest.approx(990, rel=0.05)
    assert latencies.max_ms == pytest.approx(1_000)
    assert Latencies().percentile_ms(0.5) == 0


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65_535, 65_536])
def test_frames_survive_any_cutting(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    length = (
        bytes((size,))
        if size < 126
        else b"\x7e" + struct.pack("!H", size)
        if size < 65_536
        else b"\x7f" + struct.pack("!Q", size)
    )
    data = b"\x81" + length + payload + b"\x89\x00"
    for cut in (0, 1, 2, 5, len(data) - 3, len(data)):
        reader = wire.FrameReader()
        assert reader.feed(data[:cut]) + reader.feed(data[cut:]) == [(wire.TEXT, payload), (wire.PING, b"")]


def test_a_client_masks_what_it_sends() -> None:
    frame = wire.masked_frame(wire.TEXT, b"40hello")
    key, masked = frame[2:6], frame[6:]
    assert frame[:2] == b"\x81\x87"
    assert bytes(byte ^ key[place % 4] for place, byte in enumerate(masked)) == b"40hello"


def test_a_response_may_come_in_pieces() -> None:
    reader = wire.ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Le") is None
    assert reader.feed(b"ngth: 4\r\n\r\nab") is None
    assert reader.feed(b"cd") == wire.Response(200, b"abcd")
    assert reader.feed(b"HTTP/1.1 101 Switching\r\n\r\n\x81") == wire.Response(101, b"", b"\x81")


# -- the report --------------------------------------------------------------------------------------------------------


async def _report(*missing: int) -> Report:
    script = Script(BOT)
    script.subscribed(BOT)
    events = [script.publish() for _ in range(4)]
    script.live(*(event for event in events if event[FIELD]["n"] not in missing))
    faults = [Fault(1.0, next(iter(FAULTS)), "relay-0")]
    return Report(SoakPlan(), [script.client], faults, published=4, runs=1, retries=0, forgotten=0, seconds=1.0, cpu_s=0.1)


def test_the_report_of_a_clean_soak() -> None:
    report = asyncio.run(_report())
    assert report.clean
    assert report.verdict() == "Nothing lost, nothing doubled, nothing out of order."
    assert "1 kill-leader" in report.text()


def test_the_report_names_what_is_wrong() -> None:
    report = asyncio.run(_report(3))
    assert not report.clean
    assert "client-0 (websocket), bot:b: 1 lost (3)" in report.text()
    document = orjson.loads(orjson.dumps(report.document()))
    assert document["streams"][0]["lost"] == [3]
    assert document["clean"] is False
