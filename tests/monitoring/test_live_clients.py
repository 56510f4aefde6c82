"""The admin's live-clients page."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client

from events.conf import EventsConfig
from tests.monitoring.conftest import Report
from tests.monitoring.rows import row, told

PAGE = "/admin/monitoring/liveclient/"


@pytest.fixture
def two_servers(report: Report) -> None:
    """Two server processes with a client each."""
    report(told("web-1", row("first", "web-1", address="192.0.2.1", sent=1234, backlog_bytes=2048, lagging=True)))
    report(told("web-2", row("second", "web-2", transport="polling", user_agent="<script>alert(1)</script>")))


def content(client: Client, query: str = "") -> str:
    response = client.get(PAGE + query)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.usefixtures("two_servers")
def test_clients_of_all_processes(operator: Client) -> None:
    page = content(operator)
    for text in ("first", "second", "web-1", "web-2", "polling", "192.0.2.1", "2026-01-24 10:00:00", "workflow:arb_btc_001"):
        assert text in page
    assert "1,234" in page
    assert "2.0\xa0KB" in page
    assert "2 live clients on 2 server processes" in page


@pytest.mark.usefixtures("two_servers")
def test_what_clients_say_of_themselves_is_escaped(operator: Client) -> None:
    page = content(operator)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.usefixtures("two_servers")
def test_the_page_has_no_inline_script_or_style(operator: Client) -> None:
    page = content(operator)
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert page.count("<script") == page.count("<script src=") + page.count('<script id="django-admin')


@pytest.mark.usefixtures("two_servers")
def test_search_and_the_fragment(operator: Client) -> None:
    fragment = content(operator, "?q=192.0.2.1&o=-sent&fragment=1")
    assert "<html" not in fragment
    assert 'data-key="first"' in fragment
    assert "second" not in fragment
    assert "1 of 2 live clients" in fragment
    assert "q=192.0.2.1&amp;o=sent" in fragment
    assert "fragment" not in fragment.replace("data-", "")


@pytest.mark.usefixtures("two_servers")
@pytest.mark.parametrize("process", ["web-2", "gone"])
def test_the_form_shows_what_the_table_is_filtered_by(operator: Client, process: str) -> None:
    page = content(operator, f"?process={process}")
    assert f"<option selected>{process}</option>" in page
    assert ("No live client matches." in page) == (process == "gone")


def test_pages_of_100(operator: Client, report: Report) -> None:
    report(told("web-1", *(row(f"sid-{number:03}", "web-1") for number in range(101))))
    assert content(operator, "?fragment=1&o=sid").count("data-key") == 100
    last = content(operator, "?fragment=1&o=sid&p=2")
    assert last.count("data-key") == 1
    assert "sid-100" in last


@pytest.mark.usefixtures("on_redis")
def test_nobody_is_connected(operator: Client) -> None:
    assert "No client is connected." in content(operator)
    assert "No live client matches." in content(operator, "?q=x")


def test_without_redis_the_page_says_so(operator: Client, redis_is_gone: EventsConfig) -> None:
    for query in ("", "?fragment=1"):
        page = content(operator, query)
        assert "The live clients cannot be read now: Redis at" in page
        assert "data-unavailable" in page


@pytest.mark.usefixtures("on_redis")
def test_it_is_in_the_index_and_only_to_be_viewed(operator: Client) -> None:
    index = operator.get("/admin/").content.decode()
    assert f'href="{PAGE}"' in index
    assert f'href="{PAGE}add/"' not in index
    assert operator.get(f"{PAGE}add/").status_code == 404
    assert "Workflow WebSocket Server" in index


@pytest.mark.usefixtures("on_redis", "db")
def test_the_permission_opens_the_page_and_nothing_else_does(client: Client) -> None:
    assert client.get(PAGE).status_code == 302
    user = User.objects.create_user("clerk", is_staff=True)
    client.force_login(user)
    assert client.get(PAGE).status_code == 403
    assert client.get(f"{PAGE}?fragment=1").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_liveclient"))
    assert client.get(PAGE).status_code == 200


@pytest.mark.usefixtures("db")
def test_commands_look_for_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("dumpdata", "monitoring")
    call_command("makemigrations", "--check", "--dry-run", "monitoring", verbosity=0)
    assert "[]" in capsys.readouterr().out
