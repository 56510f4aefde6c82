"""Acting on live clients: who may, what is asked, what is said, and what is written down."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from events.conf import EventsConfig
from monitoring.client_actions import ACTIONS
from tests.monitoring.conftest import Report
from tests.monitoring.rows import row, told

PAGE = "/admin/monitoring/liveclient/"
SID = "s-1_x"
QUOTED = "s-1_5Fx"

FIELDS = {
    "notice": {"message": "hello", "level": "info"},
    "unsubscribe": {"topic": "workflow:w1"},
    "disconnect": {},
    "revoke_token": {},
}


@pytest.fixture
def silent(report: Report) -> None:
    """A client whose server process does not listen."""
    report(told("web-1", row(SID, "web-1")))


@pytest.fixture
def clerk(client: Client, db: None) -> User:
    """A member of the staff who may look."""
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_liveclient"))
    client.force_login(user)
    return user


@pytest.mark.usefixtures("on_redis")
@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_needs_its_own_permission_and_that_of_the_page(client: Client, clerk: User, name: str) -> None:
    address = f"{PAGE}{QUOTED}/{name}/"
    others = [action.permission for action in ACTIONS.values() if action.name != name]
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=others))
    assert client.get(address).status_code == 403
    assert client.post(address, FIELDS[name]).status_code == 403
    assert LogEntry.objects.count() == 0
    clerk.user_permissions.add(Permission.objects.get(codename=ACTIONS[name].permission))
    assert client.get(address).status_code == 200
    clerk.user_permissions.remove(Permission.objects.get(codename="view_liveclient"))
    assert client.get(address).status_code == 403


@pytest.mark.usefixtures("on_redis")
def test_asking_does_nothing(operator: Client) -> None:
    for name, action in ACTIONS.items():
        page = operator.get(f"{PAGE}{QUOTED}/{name}/?topic=workflow:<w1>").content.decode()
        assert action.question in page
        assert "<w1>" not in page
    assert operator.get(f"{PAGE}{QUOTED}/explode/").status_code == 404
    assert LogEntry.objects.count() == 0


@pytest.mark.usefixtures("silent")
def test_a_process_that_does_not_answer_is_said_and_written_down(operator: Client) -> None:
    answer = operator.post(f"{PAGE}{QUOTED}/unsubscribe/", FIELDS["unsubscribe"], follow=True)
    page = answer.content.decode()
    assert "Nothing was done: the client&#x27;s server process did not answer in time" in page
    [entry] = LogEntry.objects.all()
    assert (entry.object_id, entry.user.username) == (SID, "operator")
    assert entry.change_message.startswith("Unsubscribe (topic: workflow:w1). Nothing was done: the client's server process")
    assert entry.get_admin_url() == f"{PAGE}{QUOTED}/change/"


@pytest.mark.usefixtures("on_redis")
def test_a_client_that_is_gone_is_said(operator: Client) -> None:
    answer = operator.post(f"{PAGE}{QUOTED}/disconnect/", follow=True)
    assert "Nothing was done. The client is not connected any more." in answer.content.decode()
    assert LogEntry.objects.count() == 1
    fragment = operator.get(f"{PAGE}{QUOTED}/change/?fragment=1").content.decode()
    assert "data-unavailable" in fragment
    assert "This client is not connected any more." in fragment


@pytest.mark.usefixtures("on_redis")
@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_is_written_down_with_who_tried_it(operator: Client, name: str) -> None:
    operator.post(f"{PAGE}{QUOTED}/{name}/", FIELDS[name])
    [entry] = LogEntry.objects.all()
    assert (entry.object_id, entry.user.username) == (SID, "operator")
    assert entry.change_message.startswith(ACTIONS[name].label)
    assert "Nothing was done." in entry.change_message


def test_without_redis_nobody_can_say(operator: Client, redis_is_gone: EventsConfig) -> None:
    answer = operator.post(f"{PAGE}{QUOTED}/disconnect/", follow=True)
    assert "Nobody can say whether it was done: Redis at" in answer.content.decode()


@pytest.mark.usefixtures("on_redis")
def test_a_notice_has_words_and_a_bound(operator: Client) -> None:
    for message in ("", "x" * 501):
        page = operator.post(f"{PAGE}{QUOTED}/notice/", {"message": message, "level": "info"}).content.decode()
        assert "errorlist" in page
    assert LogEntry.objects.count() == 0
