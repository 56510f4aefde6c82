"""Background tasks: restarted, counted, visible, and ended together."""

import asyncio

import pytest

from events import supervisor as supervisor_module
from events.supervisor import Supervisor
from tests.contracts.support import waits_skipped
from tests.fanout.support import until


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "RESTART_S", (0.01, 0.04))


class Work:
    """A background task that notes when it was started, and does what it is told."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.fail: BaseException | None = None
        self.ended = asyncio.Event()

    async def run(self) -> None:
        self.starts.append(asyncio.get_running_loop().time())
        if self.fail is not None:
            raise self.fail
        await self.ended.wait()

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.starts, self.starts[1:], strict=False)]


async def test_a_task_that_runs_is_healthy() -> None:
    tasks, work = Supervisor(), Work()
    tasks.start("work", work.run)
    assert tasks.unhealthy() == [], "it is about to run"
    await until(lambda: work.starts)
    assert tasks.unhealthy() == []
    await tasks.stop()


async def test_a_task_that_fails_is_started_again_and_the_failure_shows() -> None:
    tasks, work = Supervisor(), Work()
    work.fail = ValueError("no more")
    tasks.start("work", work.run)
    await until(lambda: len(work.starts) == 3)
    assert tasks.states["work"].failures == len(work.starts)
    work.fail = None
    await until(lambda: tasks.states["work"].running)
    assert tasks.states["work"].failure == "ValueError: no more"
    assert [state.name for state in tasks.unhealthy()] == ["work"]
    await tasks.stop()


async def test_a_task_that_returns_is_started_again() -> None:
    tasks, work = Supervisor(), Work()
    work.ended.set()
    tasks.start("work", work.run)
    await until(lambda: len(work.starts) == 3)
    assert tasks.states["work"].failure == "ended without a reason"
    await tasks.stop()


async def test_a_task_whose_own_waiting_was_cancelled_is_started_again() -> None:
    tasks, work = Supervisor(), Work()
    work.fail = asyncio.CancelledError()
    tasks.start("work", work.run)
    await until(lambda: len(work.starts) == 3)
    assert tasks.states["work"].failures == len(work.starts)
    await tasks.stop()


async def test_pauses_double_up_to_a_limit() -> None:
    tasks, work = Supervisor(), Work()
    work.fail = ValueError()
    with waits_skipped():
        tasks.start("work", work.run)
        await until(lambda: len(work.starts) == 6)
        await tasks.stop()
    assert work.pauses == pytest.approx([0.01, 0.02, 0.04, 0.04, 0.04])


async def test_a_task_that_ran_well_for_a_while_is_healthy_again_and_starts_with_a_short_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor_module, "RESTART_S", (0.01, 60.0))
    monkeypatch.setattr(supervisor_module, "SETTLED_S", 0.03)
    tasks, work = Supervisor(), Work()
    work.fail = ValueError()
    with waits_skipped():
        tasks.start("work", work.run)
        await until(lambda: len(work.starts) == 3)
        work.fail = None
        await until(lambda: tasks.unhealthy() == [])
        assert tasks.states["work"].failures == 3
        work.fail = ValueError()
        count = len(work.starts)
        work.ended.set()
        await until(lambda: len(work.starts) == count + 1)
        await tasks.stop()
    assert work.pauses[-1] < 1


async def test_one_failing_task_leaves_the_others_alone() -> None:
    tasks, good, bad = Supervisor(), Work(), Work()
    bad.fail = ValueError()
    tasks.start("good", good.run)
    tasks.start("bad", bad.run)
    await until(lambda: len(bad.starts) == 3)
    assert len(good.starts) == 1
    assert [state.name for state in tasks.unhealthy()] == ["bad"]
    await tasks.stop()


async def test_stop_ends_running_and_pausing_tasks() -> None:
    before = asyncio.all_tasks()
    tasks, good, bad = Supervisor(), Work(), Work()
    bad.fail = ValueError()
    tasks.start("good", good.run)
    tasks.start("bad", bad.run)
    await until(lambda: len(bad.starts) == 2)
    await tasks.stop()
    assert asyncio.all_tasks() == before
    assert not any(state.running for state in tasks.states.values())
    await tasks.stop()
