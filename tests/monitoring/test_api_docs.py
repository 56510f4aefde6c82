"""The OpenAPI schema and its page."""

from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from django.test import Client


def test_the_schema_is_valid_and_names_each_path_once(tmp_path: Path) -> None:
    target = tmp_path / "schema.yml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(target))
    schema = yaml.safe_load(target.read_text())
    executions = {"/api/executions", "/api/executions/{execution_id}"}
    assert set(schema["paths"]) == {
        "/api/emergency",
        "/api/events",
        "/health",
        "/health/ready",
        "/metrics",
        "/status",
        *executions,
    }
    assert [set(schema["paths"][path]["get"]["responses"]) for path in sorted(executions)] == [
        {"200", "400", "401", "403", "429", "503"},
        {"200", "401", "404", "429", "503"},
    ]
    assert set(schema["paths"]["/api/events"]["post"]["responses"]) == {"202", "400", "401", "403", "413", "415", "429", "503"}
    # An address may have too many requests under way, whatever they ask for.
    assert all("429" in operation["responses"] for path in schema["paths"].values() for operation in path.values())


@pytest.mark.parametrize("path", ["/api/schema", "/api/schema/"])
def test_the_schema_is_served(client: Client, path: str) -> None:
    response = client.get(path, {"format": "json"})
    assert response.status_code == 200
    assert response.json()["openapi"].startswith("3.")


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
def test_the_page_loads_nothing_from_elsewhere(client: Client, path: str) -> None:
    page = client.get(path).content.decode()
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page
    assert "//" not in page.replace("<!DOCTYPE", "")
    script = client.get(path, {"script": ""})
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "/api/schema/" in script.content.decode()
