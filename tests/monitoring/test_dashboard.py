"""The admin's dashboard."""

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
