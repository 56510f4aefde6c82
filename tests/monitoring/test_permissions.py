"""Who sees and does what under Monitoring: every page and action, for staff with each permission of it and without."""

from typing import Final

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import NoReverseMatch, reverse

#: Model; pages that its permission to view opens.
PAGES: Final = {
    "dashboard": ("", "?fragment=1", "lines/"),
    "emergencystate": ("", "?fragment=1"),
    "topic": ("", "?fragment=1"),
    "execution": ("", "?fragment=1", "x/change/"),
    "deadletter": ("", "?fragment=1", "1-0/change/"),
    "liveclient": ("", "?fragment=1", "abc/change/"),
}

#: Model and page of each action, with the permission that it takes besides.
ACTIONS: Final = {
    ("emergencystate", "set/"): "set_emergencystate",
    ("deadletter", "1-0/republish/"): "republish_deadletter",
    ("deadletter", "1-0/discard/"): "discard_deadletter",
    ("liveclient", "abc/notice/"): "notify_liveclient",
    ("liveclient", "abc/unsubscribe/"): "unsubscribe_liveclient",
    ("liveclient", "abc/disconnect/"): "disconnect_liveclient",
    ("liveclient", "abc/revoke_token/"): "revoke_liveclient_token",
}

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("on_redis")]


def signed_in(*codenames: str) -> Client:
    """A browser of somebody of the staff with these permissions, and no other."""
    user = User.objects.create_user(f"staff-{'-'.join(codenames)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="monitoring", codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    client = Client()
    client.force_login(user)
    return client


def statuses(client: Client, method: str = "get") -> dict[tuple[str, str], int]:
    pages = [(model, page) for model, found in PAGES.items() for page in found] + list(ACTIONS)
    return {(model, page): getattr(client, method)(f"/admin/monitoring/{model}/{page}").status_code for model, page in pages}


def test_the_matrix_knows_every_page_and_permission() -> None:
    assert {model._meta.model_name for model in site._registry if model._meta.app_label == "monitoring"} == set(PAGES)
    known = {f"view_{model}" for model in PAGES} | set(ACTIONS.values())
    assert set(Permission.objects.filter(content_type__app_label="monitoring").values_list("codename", flat=True)) == known


@pytest.mark.parametrize("method", ["get", "post"])
def test_staff_without_permissions_sees_and_does_nothing(method: str) -> None:
    client = signed_in()
    assert set(statuses(client, method).values()) == {403}
    assert "Monitoring" not in client.get("/admin/").content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_visitor_is_asked_to_sign_in(client: Client, method: str) -> None:
    assert set(statuses(client, method).values()) == {302}


@pytest.mark.parametrize("model", PAGES)
def test_a_permission_to_view_opens_its_pages_and_no_other(model: str) -> None:
    client = signed_in(f"view_{model}")
    for (other, page), status in statuses(client).items():
        opens = other == model and (other, page) not in ACTIONS
        assert (status != 403) is opens, (other, page, status)
    page = client.get(f"/admin/monitoring/{model}/").content.decode()
    assert "object-tools" not in page
    index = client.get("/admin/").content.decode()
    assert [f"/admin/monitoring/{other}/" in index for other in PAGES] == [other == model for other in PAGES]


@pytest.mark.parametrize(("model", "page"), ACTIONS)
def test_an_action_takes_its_own_permission_and_that_to_view(model: str, page: str) -> None:
    permission = ACTIONS[model, page]
    both, alone = signed_in(permission, f"view_{model}"), signed_in(permission)
    address = f"/admin/monitoring/{model}/{page}"
    assert both.get(address).status_code == 200
    assert [getattr(alone, method)(address).status_code for method in ("get", "post")] == [403, 403]
    allowed = {key for key, status in statuses(both).items() if status != 403 and key in ACTIONS}
    assert allowed == {(model, page)}


@pytest.mark.parametrize("model", PAGES)
def test_nothing_is_added_changed_or_deleted(model: str) -> None:
    for name in ("add", "delete", "history"):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:monitoring_{model}_{name}")
