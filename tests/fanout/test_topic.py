"""Members of topics: most topics have one, and share what they have not."""

import gc
import weakref

from tests.fanout.support import events, stage


async def test_topics_of_one_client_share_its_audience_until_another_joins() -> None:
    async with stage() as world:
        first, second = await world.client(), await world.client()
        for identifier in ("a", "b"):
            await world.commands.handle(first.session, "subscribe_workflow", {"workflow_id": identifier})
        await world.commands.handle(second.session, "subscribe_workflow", {"workflow_id": "a"})
        await world.flow(*events(1, workflow="a"), *events(1, workflow="b"))
        assert (first.live, second.live) == ([1, 2], [1])
        await world.commands.handle(second.session, "unsubscribe_workflow", {"workflow_id": "a"})
        await world.commands.handle(first.session, "unsubscribe_workflow", {"workflow_id": "b"})
        await world.flow(*events(1, workflow="a"), *events(1, workflow="b"))
        assert (first.live, second.live) == ([1, 2, 3], [1])


async def test_a_filter_of_one_topic_is_none_of_another() -> None:
    async with stage() as world:
        filtering, other = await world.client(), await world.client()
        await world.commands.handle(filtering.session, "subscribe_workflow", {"workflow_id": "a", "types": ["none"]})
        await world.commands.handle(other.session, "subscribe_workflow", {"workflow_id": "b"})
        await world.flow(*events(1, workflow="a"), *events(1, workflow="b"))
        assert (filtering.live, other.live) == ([], [2])
        await world.commands.handle(filtering.session, "subscribe_workflow", {"workflow_id": "a"})
        await world.flow(*events(1, workflow="a"), *events(1, workflow="b"))
        assert (filtering.live, other.live) == ([3], [2, 4])


async def test_a_client_that_went_is_not_left_to_the_garbage_collector() -> None:
    async with stage() as world:
        client = await world.client()
        await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "a"})
        audience = weakref.ref(client.session.alone)
        gc.disable()
        try:
            world.hub.remove(client.session)
            assert audience() is None
        finally:
            gc.enable()


async def test_clients_are_served_in_the_order_in_which_they_came() -> None:
    async with stage() as world:
        clients = [await world.client() for _ in range(50)]
        for client in clients:
            await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "a"})
        await world.commands.handle(clients[7].session, "unsubscribe_workflow", {"workflow_id": "a"})
        await world.commands.handle(clients[7].session, "subscribe_workflow", {"workflow_id": "a"})
        await world.commands.handle(clients[9].session, "subscribe_workflow", {"workflow_id": "a", "types": ["none"]})
        topic = world.hub.opened("workflow:a")
        assert list(topic.sessions) == [each.session for each in (*clients[:7], clients[8], *clients[10:], clients[7])]


async def test_clients_that_subscribe_to_the_same_get_the_same_answer() -> None:
    async with stage() as world:
        clients = [await world.client(), await world.client()]
        for client in clients:
            client.forget()
            await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "a"})
        first, second = (client.pipe.messages[0] for client in clients)
        assert clients[0].told_of("subscribed") == [{"type": "workflow", "workflow_id": "a"}]
        assert first.text is second.text
