"""Links lead somewhere."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.conftest import Place
from tests.docs.pages import PAGES, anchors, links
from tests.system.stack import request


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_headings_exist(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_addresses_of_the_server_answer(embedded: Place) -> None:
    found = {link for page in PAGES for link in links(page) if link.startswith("http://localhost:8001")}
    assert found
    for link in found:
        assert request(embedded.server.url + urlsplit(link).path)[0] == 200, link
