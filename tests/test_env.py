"""`wsproject/env.py`: typed variables, secrets in files, the .env file, and the flags of `serve`."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT, manage
from wsproject.env import BadSetting, Environment, adopt_serve_flags, load

Read = Callable[[Environment], object]


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "ON", " on "])
def test_flag_is_true(text: str) -> None:
    assert Environment({"X": text}).flag("X", default=False) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "off"])
def test_flag_is_false(text: str) -> None:
    assert Environment({"X": text}).flag("X", default=True) is False


READERS: dict[str, Read] = {
    "flag": lambda env: env.flag("X", default=True),
    "integer": lambda env: env.integer("X", 5, 1, 10),
    "number": lambda env: env.number("X", 5.0, 0.5, 10.0),
    "choice": lambda env: env.choice("X", "a", ("a", "b")),
    "choices": lambda env: env.choices("X", ("a", "b"), ("a", "b")),
    "networks": lambda env: env.networks("X"),
    "items": lambda env: env.items("X", ("a",)),
    "origins": lambda env: env.origins("X", ("*",)),
    "word": lambda env: env.word("X", "a"),
    "text": lambda env: env.text("X", "a"),
    "secret": lambda env: env.secret("X", "a"),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_an_empty_value_is_the_default(read: Read) -> None:
    assert read(Environment({"X": "  "})) == read(Environment({}))


BAD_VALUES = [
    ("flag", "maybe", "X is 'maybe': write true or false"),
    ("integer", "0", "X is '0': write a whole number from 1 to 10."),
    ("integer", "11", "from 1 to 10"),
    ("integer", "5.0", "whole number"),
    ("integer", "1_0", "whole number"),
    ("integer", "٣", "whole number"),
    ("integer", "9" * 5_000, "whole number"),
    ("number", "nan", "X is 'nan': write a number from 0.5 to 10."),
    ("number", "inf", "a number"),
    ("number", "fast", "a number"),
    ("choice", "c", "X is 'c': write a or b."),
    ("choices", "a,c", "X has 'c': write one or more of a, b"),
    ("origins", "dash.example.com", "X has 'dash.example.com': write origins"),
    ("origins", "https://dash.example.com/path", "write origins"),
    ("origins", "https://[", "write origins"),
    ("networks", "10.0.0.0/33", "X is not usable: '10.0.0.0/33' does not appear"),
    ("word", "a b", "X is 'a b': write at most 64 letters"),
    ("word", "a" * 65, "at most 64"),
]


@pytest.mark.parametrize(("reader", "value", "message"), BAD_VALUES)
def test_nonsense_is_refused_with_the_mend(reader: str, value: str, message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        READERS[reader](Environment({"X": value}))
    assert message in str(caught.value)


@given(st.text())
def test_no_value_gets_past_the_readers_but_as_a_good_one_or_a_named_refusal(value: str) -> None:
    for read in READERS.values():
        try:
            read(Environment({"X": value}))
        except BadSetting as error:
            assert str(error).startswith("X ")  # noqa: PT017 - not raising is right too


def test_lists_lose_spaces_empty_items_and_repetitions() -> None:
    assert Environment({"X": " a, b ,,a"}).items("X") == ("a", "b")


def test_choices_ignore_case() -> None:
    assert Environment({"X": "info"}).choice("X", "DEBUG", ("DEBUG", "INFO")) == "INFO"


def test_the_first_layer_that_names_a_variable_decides() -> None:
    env = Environment({"A": "1", "B": ""}, {"A": "2", "B": "2", "C": "2"})
    assert [env.text(name, "default") for name in "ABCD"] == ["1", "default", "2", "default"]


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    assert Environment({"TOKEN_FILE": str(tmp_path / "token")}).secret("TOKEN") == "s3cret"


def test_the_process_environment_wins_over_a_file_named_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file")
    later = {"TOKEN_FILE": str(tmp_path / "token")}
    assert Environment({"TOKEN": "given"}, later).secret("TOKEN") == "given"
    assert Environment({"TOKEN": ""}, later).secret("TOKEN") == ""
    assert Environment({}, later).secret("TOKEN") == "from the file"


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "No such file"), ("empty", "empty"), ("binary", "UTF-8"), (".", "directory")]
)
def test_a_secret_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSetting, match=rf"^TOKEN_FILE is '.*{reason}"):
        Environment({"TOKEN_FILE": str(tmp_path / name)}).secret("TOKEN")


@pytest.mark.parametrize("value", ["http://u:hunter2@host", "hunter2", "redis://", "redis://h:99999", "redis://[hunter2"])
def test_a_bad_redis_address_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(BadSetting, match=r"^REDIS_URL is not a Redis address") as caught:
        Environment({"REDIS_URL": value}).redis_url("REDIS_URL")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["redis://host", "rediss://u:p@host:6380/1", "unix:///run/redis.sock?db=1"])
def test_redis_addresses(value: str) -> None:
    assert Environment({"REDIS_URL": value}).redis_url("REDIS_URL") == value


@pytest.mark.parametrize(
    "value",
    ["hunter2", "mysql://u:hunter2@h/n", "postgres://u:hunter2@h", "postgres://u:hunter2@h:port/n", "sqlite://hunter2/n"],
)
def test_a_bad_database_address_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(BadSetting, match=r"^DATABASE_URL is not a database address") as caught:
        Environment({"DATABASE_URL": value}).database("DATABASE_URL", Path("db"))
    assert "hunter2" not in str(caught.value)


def test_database_addresses() -> None:
    given = Environment({"DATABASE_URL": "postgres://u:p%40ss@host:5433/name"}).database("DATABASE_URL", Path("db"))
    assert (given["ENGINE"], given["PASSWORD"], given["PORT"]) == ("django.db.backends.postgresql", "p@ss", 5433)
    assert Environment({"DATABASE_URL": "sqlite:////data/db"}).database("DATABASE_URL", Path("db"))["NAME"] == "/data/db"
    assert Environment({}).database("DATABASE_URL", Path("a b+c%/db"))["NAME"] == Path("a b+c%/db")


# -- misspelt variables ------------------------------------------------------------------------------------------------


def test_unknown_variables_are_found_with_what_was_probably_meant() -> None:
    env = Environment({"WS_PORT": "1", "WS_AUTH_TOKENS": "x", "OTHER": "x"}, {"WS_ZZZZZZZZZ": "x"})
    for name in ("WS_PORT", "WS_AUTH_TOKEN"):
        env.text(name)
    assert env.unknown("WS_") == {"WS_AUTH_TOKENS": "WS_AUTH_TOKEN", "WS_ZZZZZZZZZ": ""}


# -- the .env file -----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENV_FILE", raising=False)


@pytest.mark.usefixtures("no_env_file")
def test_the_env_file_completes_the_environment_and_leaves_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# comment\nA_TEST=file\nB_TEST='quoted # text'\nexport C_TEST=redis://h/0\n")
    monkeypatch.setenv("A_TEST", "environment")
    env = load(tmp_path)
    assert [env.text(name) for name in ("A_TEST", "B_TEST", "C_TEST")] == ["environment", "quoted # text", "redis://h/0"]
    assert "B_TEST" not in os.environ


@pytest.mark.usefixtures("no_env_file")
def test_without_an_env_file_there_is_only_the_environment(tmp_path: Path) -> None:
    assert load(tmp_path).text("A_TEST", "default") == "default"


def test_another_env_file_can_be_named_and_must_then_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_text("A_TEST=other\n")
    monkeypatch.setenv("ENV_FILE", "other")
    assert load(tmp_path).text("A_TEST") == "other"
    monkeypatch.setenv("ENV_FILE", "missing")
    with pytest.raises(BadSetting, match=r"ENV_FILE .*missing.*no such file"):
        load(tmp_path)


def test_an_empty_env_file_name_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("A_TEST=file\n")
    monkeypatch.setenv("ENV_FILE", "")
    assert load(tmp_path).text("A_TEST") == ""


@pytest.mark.usefixtures("no_env_file")
def test_an_env_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(BadSetting, match=r"\.env cannot be read: Is a directory"):
        load(tmp_path)


# -- the flags of `serve` ----------------------------------------------------------------------------------------------

FLAG_VARIABLES = ("ENV", "WS_HOST", "WS_PORT", "WS_AUTH_TOKEN", "WS_REQUIRE_AUTH")


def adopted(monkeypatch: pytest.MonkeyPatch, *argv: str) -> dict[str, str]:
    for name in FLAG_VARIABLES:
        monkeypatch.setenv(name, "before")
    adopt_serve_flags(["manage.py", *argv])
    return {name: os.environ[name] for name in FLAG_VARIABLES if os.environ[name] != "before"}


def test_serve_flags_become_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["serve", "--env", "production", "--host=::1", "--port", "8080", "--auth-token=a,b", "--require-auth", "-v2"]
    assert adopted(monkeypatch, *argv) == {
        "ENV": "production",
        "WS_HOST": "::1",
        "WS_PORT": "8080",
        "WS_AUTH_TOKEN": "a,b",
        "WS_REQUIRE_AUTH": "true",
    }


@pytest.mark.parametrize("argv", [[], ["serve"], ["runbus", "--port", "1"], ["serve", "--po", "1"], ["serve", "--help"]])
def test_other_words_change_nothing(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    assert adopted(monkeypatch, *argv) == {}


# -- from outside ------------------------------------------------------------------------------------------------------


def test_a_bad_value_ends_manage_py_with_one_line() -> None:
    done = manage("check", WS_PORT="eighty")
    assert done.returncode == 1
    assert done.stderr == "manage.py: WS_PORT is 'eighty': write a whole number from 1 to 65535.\n"


def test_nothing_else_touches_the_environment() -> None:
    paths = [path for folder in ("deploy", "events", "monitoring", "wsproject") for path in (ROOT / folder).rglob("*.py")]
    for path in {ROOT / "manage.py", *paths} - {ROOT / "wsproject" / "env.py"}:
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not names & {"environ", "getenv", "putenv"}, path


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://Dash.Example.com", "https://dash.example.com"),
        ("https://dash.example.com:443", "https://dash.example.com"),
        ("http://dash.example.com:80", "http://dash.example.com"),
        ("http://dash.example.com:443", "http://dash.example.com:443"),
    ],
)
def test_origins_become_what_browsers_send(written: str, sent: str) -> None:
    assert Environment({"X": written}).origins("X") == (sent,)
