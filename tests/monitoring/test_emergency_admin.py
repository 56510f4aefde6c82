"""The admin's page of the emergency state."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from events.emergency import emergency, set_emergency

PAGE = "/admin/monitoring/emergencystate/"

HALT = {"state": "halt", "reason": "exchange <maintenance>", "confirmed": "on"}


@pytest.mark.usefixtures("on_redis")
def test_what_was_set_is_shown_with_who_and_why(operator: Client) -> None:
    assert "Nothing else was ever set." in operator.get(PAGE).content.decode()
    set_emergency("alert", "drill <1>", by="mara (manage.py)")
    set_emergency("normal", "", by="someone else")
    for address in (PAGE, f"{PAGE}?fragment=1"):
        page = operator.get(address).content.decode()
        assert "set by someone else" in page
        assert page.index("normal") < page.index("mara (manage.py)")
        assert "drill &lt;1&gt;" in page


@pytest.mark.usefixtures("on_redis")
def test_setting_it_is_asked_about_done_and_noted(operator: Client) -> None:
    assert "Which state is the platform to be in?" in operator.get(f"{PAGE}set/").content.decode()
    unconfirmed = operator.post(f"{PAGE}set/", {**HALT, "confirmed": ""}).content.decode()
    assert "Tick this to go on." in unconfirmed
    assert emergency().state == "normal"

    answer = operator.post(f"{PAGE}set/", HALT, follow=True).content.decode()
    assert "The emergency state is halt." in answer
    assert (emergency().state, emergency().reason, emergency().by) == ("halt", "exchange <maintenance>", "operator (admin)")
    [entry] = LogEntry.objects.all()
    assert entry.change_message == "Set the state. The emergency state is halt. Reason: exchange <maintenance>"


@pytest.mark.usefixtures("on_redis")
def test_a_reason_is_asked_for(operator: Client) -> None:
    page = operator.post(f"{PAGE}set/", {**HALT, "reason": " "}).content.decode()
    assert "reason is missing: say why the state is halt." in page
    assert emergency().state == "normal"
    assert not LogEntry.objects.exists()


@pytest.mark.usefixtures("redis_is_gone")
def test_without_redis_it_says_so(operator: Client) -> None:
    assert "The emergency state cannot be read now" in operator.get(PAGE).content.decode()
    answer = operator.post(f"{PAGE}set/", HALT, follow=True).content.decode()
    assert "Nobody can say whether it was set" in answer
    [entry] = LogEntry.objects.all()
    assert "Nobody can say" in entry.change_message
