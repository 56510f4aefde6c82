"""The emergency state reaches every client, also the one that comes later."""

from structlog.testing import capture_logs

from events.commands import CommandHandler
from events.conf import SessionLimits
from events.fanout import notices
from events.fanout.emergency import EmergencyWatch
from events.ports import Emergency
from events.state.memory import MemoryStateStore
from tests.fanout.support import Client, stage

HALT = Emergency("halt", "the exchange is down", 1_769_248_800.0)


async def test_a_change_is_told_once_to_every_client_and_logged() -> None:
    store = MemoryStateStore()
    async with stage() as world:
        clients = [await world.client() for _ in range(3)]
        watch = EmergencyWatch(world.hub, store)
        with capture_logs() as logged:
            await watch.look()
            await store.set_emergency(HALT)
            await watch.look()
            await watch.look()
        assert [client.told_of("emergency_state") for client in clients] == [[notices.emergency(HALT)]] * 3
        assert [(entry["was"], entry["now"], entry["log_level"]) for entry in logged] == [("normal", "halt", "warning")]
        await store.set_emergency(Emergency("normal", "", 1.0))
        await watch.look()
        assert clients[0].told_of("emergency_state")[-1]["state"] == "normal"


async def test_a_client_that_comes_later_is_told_unless_all_is_normal() -> None:
    async with stage() as world:
        assert (await greeted(world.commands)).told_of("emergency_state") == []
        world.hub.emergency = HALT
        client = await greeted(world.commands)
        assert [name for name, _ in client.told] == ["connected", "emergency_state"]


async def greeted(commands: CommandHandler) -> Client:
    client = Client(SessionLimits())
    await commands.connect(client.session, {})
    return client
