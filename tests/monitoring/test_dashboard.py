"""The admin's dashboard."""

import time

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from events.conf import EventsConfig
from events.fanout.latency import BUCKETS
from events.ports import Emergency, Sample
from events.wiring import Adapters
from tests.monitoring.conftest import Elsewhere, Report
from tests.monitoring.rows import row, told

PAGE = "/admin/monitoring/dashboard/"


def test_what_is_wrong_and_what_to_do(operator: Client, report: Report, elsewhere: Elsewhere) -> None:
    report(told("web-1", row("a", "web-1"), row("b", "web-1")))
    report(told("bus-1", kind="runbus", gauges={"leading": True, "lag_s": 1.5}))
    elsewhere(lambda adapters: adapters.state.set_emergency(Emergency("halt", "exchange <down>")))
    page = operator.get(PAGE).content.decode()
    for text in (
        "No relay is running",
        "python manage.py runbus",
        "halt",
        "exchange &lt;down&gt;",
        "web-1",
        "leads, 1.5 s behind",
    ):
        assert text in page
    assert "<html" not in operator.get(f"{PAGE}?fragment=1").content.decode()


def test_what_is_wrong_with_each_process(operator: Client, report: Report) -> None:
    well = {"ready": True, "heard_s": 0.5, "canary_s": 1.0, "canary_lag_s": 0.01, "loop_delay_s": 0.01, "broken": []}
    deaf = {**well, "heard_s": 42.0, "loop_delay_s": 3.5, "broken": ["samples (no <memory>)"]}
    now = time.time()
    report(told("web-1", gauges=well, at=now))
    report(told("web-2", gauges=deaf, at=now))
    report(told("bus-1", kind="runbus", gauges={"leading": True, "lag_s": 8.0}, at=now))
    report(told("bus-2", kind="runbus", gauges={"leading": False, "lag_s": 0.0}, at=now - 4))
    page = operator.get(f"{PAGE}?fragment=1").content.decode()
    rows = {name: page.partition(f">{name}</th>")[2].partition("<th scope")[0] for name in ("web-1", "web-2", "bus-1", "bus-2")}
    assert "<td>well</td>" in rows["web-1"]
    assert "3 problems" in rows["web-2"]
    for text in ("has not heard from the relay for 42 s", "stood still for 3.5 s", "samples (no &lt;memory&gt;)"):
        assert text in rows["web-2"]
    assert "The relay bus-1 is 8 s behind the event bus" in rows["bus-1"]
    assert "It has not reported for 4 s" in rows["bus-2"]


def test_the_last_hour(operator: Client, elsewhere: Elsewhere) -> None:
    sample = Sample("web-1", "server", 1_769_248_800.0, 10.0, 3, 0, 0, 50, 0, None, [0] * len(BUCKETS))

    async def act(adapters: Adapters) -> None:
        await adapters.state.add_sample(sample)

    elsewhere(act)
    found = operator.get(f"{PAGE}lines/").json()
    assert found["at"] == [sample.at]
    assert found["lines"]["total"]["sent"] == [5.0]


def test_without_redis_the_page_says_so(operator: Client, redis_is_gone: EventsConfig) -> None:
    assert "cannot be reached" in operator.get(PAGE).content.decode()
    answer = operator.get(f"{PAGE}lines/")
    assert answer.status_code == 503
    assert "The last hour cannot be read now: Redis at" in answer.json()["message"]


@pytest.mark.usefixtures("on_redis", "db")
def test_who_may_see_it(client: Client) -> None:
    user = User.objects.create_user("clerk", is_staff=True)
    client.force_login(user)
    for path in (PAGE, f"{PAGE}lines/"):
        assert client.get(path).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_dashboard"))
    for path in (PAGE, f"{PAGE}lines/"):
        assert client.get(path).status_code == 200
