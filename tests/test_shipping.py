"""What is shipped beside the code: image, compose file, proxy settings, set-up scripts, lists of packages and variables."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from django.core.management import get_commands
from packaging.utils import canonicalize_name

from events.limits.pace import LONGEST
from tests.conftest import ROOT
from tests.redis_server import free_port
from wsproject.settings import env

SAFE: Final = {
    "ENV": "production",
    "SECRET_KEY": "0123456789abcdef" * 4,
    "ALLOWED_HOSTS": "ws.example.com",
    "WS_CORS_ALLOWED_ORIGINS": "https://dash.example.com",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "WS_AUTH_TOKEN": "t" * 32,
}


# -- the image ---------------------------------------------------------------------------------------------------------


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def copied() -> list[tuple[str, str]]:
    """What the image gets from the project: source and target."""
    pairs: list[tuple[str, str]] = []
    for instruction, arguments in dockerfile():
        if instruction == "COPY":
            words = arguments.split()
            if words[0] == "--from=packages":
                continue
            *sources, target = words[1:] if words[0].startswith("--from") else words
            pairs += [(source.removeprefix("/build/"), target) for source in sources]
    return pairs


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with exactly what the image gets, after the image's own build steps."""
    folder = tmp_path_factory.mktemp("image")
    for source, target in copied():
        destination = folder / target if target != "./" else folder / source
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, destination, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, destination)
    runs = [arguments for instruction, arguments in dockerfile() if instruction == "RUN"]
    steps = [run for run in runs if run.startswith("python manage.py")]
    assert len(steps) == 2
    for step in steps:
        done = run_in(folder, *step.split()[1:], ENV="production")
        assert (done.returncode, done.stderr) == (0, ""), step
    return folder


def run_in(folder: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", **variables}
    return subprocess.run(
        [sys.executable, *argv], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_everything_that_is_copied_is_there_and_gets_past_the_ignore_list() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    for source, _ in copied():
        assert (ROOT / source).exists(), source
        assert source.startswith("node_modules/") or f"!{source}" in ignore, source


def test_the_image_is_complete(image: Path) -> None:
    done = run_in(image, "manage.py", "check", **SAFE)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_has_the_static_files(image: Path) -> None:
    names = json.loads((image / "staticfiles" / "staticfiles.json").read_text())["paths"]
    assert "vendor/socket.io-client/socket.io.min.js" in names
    assert "admin/css/base.css" in names


def test_the_image_refuses_to_run_unconfigured(image: Path) -> None:
    done = run_in(image, "manage.py", "migrate", ENV="production")
    assert done.returncode == 1
    assert "SECRET_KEY is not set" in done.stderr


class Health(BaseHTTPRequestHandler):
    """Answers every request with a status and what it was asked."""

    status: ClassVar = 200

    def do_GET(self) -> None:
        body = json.dumps({"port": self.connection.getsockname()[1], "headers": dict(self.headers)}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


class Unhealthy(Health):
    status = 503


def serving(handler: type[Health]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def healthy() -> Iterator[int]:
    yield from serving(Health)


@pytest.fixture
def unhealthy() -> Iterator[int]:
    yield from serving(Unhealthy)


def test_the_health_check_passes_on_the_answer_of_the_server(image: Path, healthy: int, unhealthy: int) -> None:
    assert run_in(image, "-m", "deploy.healthcheck", WS_PORT=str(healthy)).returncode == 0
    done = run_in(image, "-m", "deploy.healthcheck", WS_PORT=str(unhealthy))
    assert (done.returncode, done.stderr) == (1, "unhealthy: HTTP Error 503: Service Unavailable\n")


def test_the_health_check_fails_where_nobody_answers(image: Path) -> None:
    done = run_in(image, "-m", "deploy.healthcheck", WS_PORT=str(free_port()))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


# -- compose -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_compose_names_only_variables_that_are_read(compose: dict[str, Any]) -> None:
    substituted = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    given = {name for service in compose["services"].values() for name in service.get("environment", {})}
    assert substituted | given <= env.names


def test_compose_names_only_services_and_files_that_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"redis", "server", "runbus", "nginx"} <= set(services)
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).is_file(), volume


def test_djangos_own_deployment_checks_find_nothing(image: Path, compose: dict[str, Any]) -> None:
    given = {
        name: re.sub(r"\$\{(\w+)(?::-)?([^}]*)\}", lambda found: SAFE.get(found[1], found[2]), value)
        for name, value in compose["services"]["server"]["environment"].items()
    }
    assert given["SECRET_KEY"] == SAFE["SECRET_KEY"]
    database = {"DATABASE_URL": f"sqlite:///{image}/db.sqlite3"}
    done = run_in(image, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **{**given, **database})
    assert (done.returncode, done.stderr) == (0, "")
    unsafe = {"SECURE_HSTS_SECONDS": "0", "SECURE_COOKIES": "0"}
    done = run_in(image, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **{**given, **database, **unsafe})
    assert done.returncode == 1
    for expected in ("security.W004", "security.W012"):
        assert expected in done.stderr, done.stderr


def test_redis_keeps_what_it_was_given(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    kept = ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    assert redis["command"][1:] == [*kept, "--client-output-buffer-limit", "pubsub 128mb 64mb 60"]
    assert redis["volumes"] == ["redis:/data"]


def test_redis_is_reached_by_the_servers_own_processes_only(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert compose["networks"][services["redis"]["networks"][0]] == {"internal": True}
    assert "ports" not in services["redis"]
    near = [
        name
        for name, service in services.items()
        if set(service.get("networks", ["default"])) & {*services["redis"]["networks"]}
    ]
    assert sorted(near) == ["migrate", "redis", "runbus", "server"]


def test_the_proxy_sends_to_the_server_of_compose(compose: dict[str, Any]) -> None:
    (upstream,) = re.findall(r"^\s+server (\S+) max_fails=0;", (ROOT / "deploy" / "nginx.conf").read_text(), re.MULTILINE)
    service, port = upstream.split(":")
    assert service in compose["services"]
    assert port == compose["services"]["server"]["environment"]["WS_PORT"]


# -- the proxy ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def nginx(tmp_path: Path, healthy: int) -> Iterator[str]:
    """The address of an nginx with the shipped settings in front of two servers."""
    for second in serving(Health):
        with proxying(tmp_path, f"server 127.0.0.1:{healthy}; server 127.0.0.1:{second};") as address:
            yield address


@contextmanager
def proxying(folder: Path, servers: str, ends_tls: str = "") -> Iterator[str]:
    """The address of an nginx with the shipped settings; of these only the servers and who ends TLS are others."""
    port = free_port()
    conf = (ROOT / "deploy" / "nginx.conf").read_text()
    for shipped, ours in (
        ("server server:8001 max_fails=0;", servers),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("# 192.0.2.1 1;", ends_tls),
    ):
        assert shipped in conf
        conf = conf.replace(shipped, ours)
    (folder / "site.conf").write_text(conf)
    command = [nginx_program(), "-p", str(folder), "-e", "stderr", "-c", str(write_nginx_conf(folder))]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False, timeout=10)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def nginx_program() -> str:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is needed: apt-get install nginx"
    return program


def write_nginx_conf(folder: Path) -> Path:
    """The least of an nginx.conf around the shipped settings."""
    temporary = "".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = folder / "nginx.conf"
    main.write_text(f"pid {folder}/pid; events {{}} http {{ access_log off; {temporary} include {folder}/site.conf; }}")
    return main


def wait_for_port(port: int) -> None:
    """Returns when somebody listens; the test's own timeout bounds it."""
    waiting = threading.Event()
    while not waiting.wait(0.02):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return


def ask(address: str, **headers: str) -> dict[str, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(f"{address}/socket.io/?EIO=4&transport=polling", headers=names)) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def test_the_proxy_keeps_a_client_at_one_server(nginx: str) -> None:
    assert len({ask(nginx)["port"] for _ in range(8)}) == 1


def test_the_proxy_says_who_asks_and_for_what(nginx: str) -> None:
    headers = ask(nginx, Host="ws.example.com:8443")["headers"]
    assert headers["Host"] == "ws.example.com:8443"
    assert headers["X-Real-IP"] == headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Upgrade" not in headers


@pytest.mark.parametrize(("trusted", "expected"), [("", "http"), ("127.0.0.1 1;", "https")])
def test_the_proxy_believes_a_scheme_only_of_whoever_ends_tls(
    tmp_path: Path, healthy: int, trusted: str, expected: str
) -> None:
    with proxying(tmp_path, f"server 127.0.0.1:{healthy};", trusted) as address:
        assert ask(address, X_Forwarded_Proto="https")["headers"]["X-Forwarded-Proto"] == expected


def test_the_proxy_limits_who_tries_passwords(nginx: str) -> None:
    def status(path: str, body: bytes | None) -> int:
        try:
            with urlopen(Request(f"{nginx}{path}", body)) as response:
                found: int = response.status
                return found
        except HTTPError as error:
            with error:
                return error.code

    assert [status("/admin/login/", b"x") for _ in range(12)].count(429) >= 4
    assert 429 not in [status("/admin/login/", None) for _ in range(12)] + [status("/api/events", b"x") for _ in range(12)]


def test_the_proxy_lets_upgrades_through(nginx: str) -> None:
    headers = ask(nginx, Upgrade="websocket", Connection="Upgrade")["headers"]
    assert (headers["Upgrade"], headers["Connection"]) == ("websocket", "upgrade")


# -- lists -------------------------------------------------------------------------------------------------------------


def test_the_example_lists_every_variable_and_nothing_else() -> None:
    listed = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(env.names)


def test_the_example_can_be_used_as_it_is() -> None:
    environment = {**os.environ, "ENV_FILE": ".env.example"}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


#: What scripts/lock.sh makes.
LOCKED = ["requirements", "requirements-dev", "requirements-uvicorn", "requirements-node", "bench/requirements"]


@pytest.mark.parametrize("name", [f"{name}.txt" for name in LOCKED])
def test_every_package_has_an_exact_version_and_hashes(name: str) -> None:
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        package = r"[A-Za-z0-9._-]+(\[[a-z]+\])?==[0-9][0-9a-z.]*( ; [^#]+?)?"
        assert re.fullmatch(package + r"(\s+--hash=sha256:[0-9a-f]{64})+", line), line


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_that_is_asked_for_is_locked_as_it_is_asked_for(name: str) -> None:
    asked = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (ROOT / f"{name}.in").read_text(), re.MULTILINE)
    locked = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (ROOT / f"{name}.txt").read_text(), re.MULTILINE)
    assert asked
    assert {(package.lower(), version) for package, version in asked} <= {(found.lower(), version) for found, version in locked}


def test_only_locked_packages_are_installed() -> None:
    """Else an audit of the lists says nothing about what runs."""
    text = "\n".join((ROOT / name).read_text() for name in ("requirements-dev.txt", "requirements-node.txt"))
    locked = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)(?:\[\w+\])?==", text, re.MULTILINE)}
    installed = {canonicalize_name(found.name) for found in metadata.distributions(path=[sysconfig.get_path("purelib")])}
    assert installed - locked == {"workflow-events"}


def test_the_packages_for_development_include_the_servers() -> None:
    pins = {
        name: set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    }
    assert pins["requirements.txt"] <= pins["requirements-dev.txt"]


@pytest.mark.parametrize("folder", [ROOT, ROOT / "bench"], ids=["browser", "bench"])
def test_npm_packages_have_exact_versions_and_no_address(folder: Path) -> None:
    lock = json.loads((folder / "package-lock.json").read_text())
    package = json.loads((folder / "package.json").read_text())
    wanted = package["dependencies"] | package.get("devDependencies", {})
    # Our own client is used where it lies.
    ours = [name for name, version in wanted.items() if version == "file:clients/js"]
    wanted = {name: version for name, version in wanted.items() if name not in ours}
    assert wanted == {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted}
    resolved = [name for name, found in lock["packages"].items() if "resolved" in found]
    assert resolved == [f"node_modules/{name}" for name in ours]
    # Where to thank the authors is no address to load from.
    assert "://" not in json.dumps([{**found, "funding": None} for found in lock["packages"].values()])


# -- set-up ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_sound(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def set_up(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """`make install` in a copy of what it needs."""
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("Makefile", "package.json", "package-lock.json", ".npmrc", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    environment = {"PATH": os.environ["PATH"], "PYTHON": python}
    command = ["make", "--silent", "install"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def error_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said besides make's own line about the failed target."""
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


def fake_python(folder: Path, condition: str) -> str:
    """A Python that understands only what `condition` lets through."""
    program = folder / "fake-python"
    program.write_text(f'#!/bin/sh\ncase "$2" in {condition}) exit 0;; esac\nexit 1\n')
    program.chmod(0o755)
    return str(program)


def test_an_old_python_is_named_in_one_line(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "nothing")
    done = set_up(tmp_path, python)
    assert done.returncode != 0
    assert error_lines(done) == [f"setup: PYTHON={python} is not a Python 3.11 or newer."]


def test_a_python_without_venv_is_named_in_one_line(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "*version_info*")
    done = set_up(tmp_path, python)
    assert done.returncode != 0
    (line,) = error_lines(done)
    assert line.startswith(f"setup: {python} cannot make virtual environments.")
    assert "python3-venv" in line


def test_a_folder_that_cannot_be_written_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".venv").write_text("in the way")
    done = set_up(tmp_path, sys.executable)
    assert done.returncode != 0
    assert error_lines(done) == [f"setup: the folder {tmp_path} is not writable, or .venv in it is not a folder."]


def test_help_lists_every_target() -> None:
    done = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in done.stdout.splitlines()] == targets


# -- systemd -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy" / "systemd").glob("*.service")), ids=lambda path: path.stem)
def test_a_unit_starts_what_there_is_and_waits_for_the_drain(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=\S+/python manage\.py (\w+)", text, re.MULTILINE)
    assert command in get_commands()
    (patience_s,) = re.findall(r"^TimeoutStopSec=(\d+)", text, re.MULTILINE)
    assert int(patience_s) > (LONGEST * 20 if command == "serve" else 5)
    assert "KillSignal=SIGTERM" in text
