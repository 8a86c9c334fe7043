"""API keys: what is kept of them, whom they let in, and where a service may not start without."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask, g
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from typer.testing import CliRunner, Result
from werkzeug.datastructures import Headers

import cli
from service import access, audit, keys, problems
from service.jobs import tables
from service.keys import Doorkeeper, Unauthorized
from service.request_errors import DatabaseAway
from service.settings import Settings, SettingsError

PUBLIC = {"host": "0.0.0.0"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = tables.open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    yield made
    made.dispose()


class Clock:
    """What `time.monotonic` says in the module under test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("service.keys.time.monotonic", made.monotonic)
    return made


def settings(**given: object) -> Settings:
    return Settings.model_validate({**Settings.model_construct().model_dump(), **given})


def bearer(key: str) -> Headers:
    return Headers({"Authorization": f"Bearer {key}"})


def test_a_key_has_a_public_id_and_256_random_bits(engine: sa.Engine) -> None:
    text, key_id = keys.create(engine, "front end")
    prefix, shown, secret = text.split("_", 2)
    assert (prefix, shown, len(secret)) == ("sk", key_id, 43)
    assert keys.create(engine, "front end")[0] != text


def test_only_a_hash_of_the_secret_is_kept(engine: sa.Engine, tmp_path: Path) -> None:
    text, key_id = keys.create(engine, "front end")
    engine.dispose()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key_id.encode() in kept
    assert text.split("_", 2)[2].encode() not in kept


def test_a_key_lets_in_by_either_header(engine: sa.Engine) -> None:
    text, key_id = keys.create(engine, "front end")
    door = Doorkeeper(settings(**PUBLIC), engine)
    assert door.identify(bearer(text)) == key_id
    assert door.identify(Headers({"Authorization": f"bearer  {text} "})) == key_id
    assert door.identify(Headers({"x-api-key": text})) == key_id


def test_without_a_key_it_depends_on_the_settings(engine: sa.Engine) -> None:
    assert Doorkeeper(settings(), engine).identify(Headers()) == "anonymous"
    assert (
        Doorkeeper(settings(**PUBLIC, allow_anonymous=True), engine).identify(Headers())
        == "anonymous"
    )
    for shut in (settings(**PUBLIC), settings(allow_anonymous=False)):
        with pytest.raises(Unauthorized):
            Doorkeeper(shut, engine).identify(Headers())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_wrong_key_is_refused_even_where_none_is_needed(engine: sa.Engine, host: str) -> None:
    text, _ = keys.create(engine, "front end")
    other, _ = keys.create(engine, "another")
    door = Doorkeeper(settings(host=host, allow_anonymous=True, api_key="k" * 20), engine)
    mixed = "_".join([*text.split("_", 2)[:2], other.split("_", 2)[2]])
    wrong = (text[:-1] + ("A" if text[-1] != "A" else "B"), mixed, "sk_", "k" * 19, "", "ü\ud800")
    for key in wrong:
        with pytest.raises(Unauthorized):
            door.identify(Headers([("X-API-Key", key)]))
    with pytest.raises(Unauthorized):
        door.identify(Headers({"Authorization": f"Basic {text}"}))


@given(st.text(max_size=80))
def test_no_text_but_a_key_is_one(text: str) -> None:
    engine = sa.create_engine("sqlite://")
    keys.table.create(engine)
    door = Doorkeeper(settings(allow_anonymous=True, api_key="the key of the house"), engine)
    with pytest.raises(Unauthorized):
        door.identify(Headers([("X-API-Key", text.replace("\r", "").replace("\n", ""))]))
    engine.dispose()


def test_the_key_of_the_environment_is_one(engine: sa.Engine) -> None:
    door = Doorkeeper(settings(**PUBLIC, api_key=SecretStr("a key by another way")), engine)
    assert door.identify(bearer("a key by another way")) == keys.ENVIRONMENT


def test_a_revoked_key_ends_within_ten_seconds(engine: sa.Engine, clock: Clock) -> None:
    text, key_id = keys.create(engine, "front end")
    door = Doorkeeper(settings(**PUBLIC), engine)
    assert door.identify(bearer(text)) == key_id
    assert keys.revoke(engine, key_id)
    assert not keys.revoke(engine, key_id)
    assert not keys.revoke(engine, "0" * 12)
    clock.now += 10
    with pytest.raises(Unauthorized):
        door.identify(bearer(text))


def test_a_new_key_is_known_within_two_seconds(engine: sa.Engine, clock: Clock) -> None:
    first, first_id = keys.create(engine, "front end")
    door = Doorkeeper(settings(**PUBLIC), engine)
    assert door.identify(bearer(first)) == first_id
    second, second_id = keys.create(engine, "another")
    clock.now += 2
    assert door.identify(bearer(second)) == second_id


def test_the_database_is_not_read_for_every_request(engine: sa.Engine, clock: Clock) -> None:
    text, _ = keys.create(engine, "front end")
    door = Doorkeeper(settings(**PUBLIC), engine)
    door.identify(bearer(text))
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for _ in range(100):
        door.identify(bearer(text))
        with pytest.raises(Unauthorized):
            door.identify(bearer(f"sk_{'0' * 12}_{'A' * 43}"))
    assert asked == []


def test_many_threads_are_told_the_same(engine: sa.Engine) -> None:
    made = [keys.create(engine, f"key {number}") for number in range(8)]
    door = Doorkeeper(settings(**PUBLIC), engine)
    told: list[tuple[str, str]] = []

    def ask(text: str, key_id: str) -> None:
        told.extend((door.identify(bearer(text)), key_id) for _ in range(50))

    threads = [threading.Thread(target=ask, args=one) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 400
    assert all(owner == key_id for owner, key_id in told)


class Database:
    """What the keys are read from; it can hang, and it can fail."""

    def __init__(self, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = keys._read
        self.answers = threading.Event()
        self.answers.set()
        self.fails = False
        self.readings = 0
        self.ended = 0
        monkeypatch.setattr(keys, "_read", self.read)

    def read(self, engine: sa.Engine) -> dict[str, str]:
        self.readings += 1
        try:
            assert self.answers.wait(30)
            if self.fails:
                raise sa.exc.OperationalError("private", {}, Exception("private"))
            return self._read(engine)
        finally:
            self.ended += 1


@pytest.fixture
def database(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Database:
    return Database(engine, monkeypatch)


UNKNOWN = f"sk_{'0' * 12}_{'A' * 43}"


def test_a_database_that_hangs_holds_up_nobody_whose_key_was_known(
    engine: sa.Engine, clock: Clock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "PATIENCE_S", 0.05)
    text, key_id = keys.create(engine, "front end")
    door = Doorkeeper(settings(**PUBLIC), engine)
    assert door.identify(bearer(text)) == key_id
    database.answers.clear()
    for _ in range(10):
        clock.now += 10
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(door.identify, [bearer(text)] * 8)) == {key_id}
        with pytest.raises(DatabaseAway):
            door.identify(bearer(UNKNOWN))
    assert database.readings == 2, "one reads for all"
    database.answers.set()
    while database.ended < 2:
        time.sleep(0.01)
    clock.now += 10
    with pytest.raises(Unauthorized):
        door.identify(bearer(UNKNOWN))


def test_a_database_that_fails_is_asked_once_a_second(
    engine: sa.Engine, clock: Clock, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    text, key_id = keys.create(engine, "front end")
    door = Doorkeeper(settings(**PUBLIC), engine)
    assert door.identify(bearer(text)) == key_id
    database.fails = True
    clock.now += 10
    for _ in range(20):
        assert door.identify(bearer(text)) == key_id
        with pytest.raises(DatabaseAway):
            door.identify(bearer(UNKNOWN))
    assert database.readings == 2
    assert "the keys cannot be read" in caplog.text
    assert "private" not in caplog.text
    database.fails = False
    assert keys.revoke(engine, key_id)
    clock.now += 2
    with pytest.raises(Unauthorized):
        door.identify(bearer(text))


def test_the_day_of_the_last_use_is_kept(engine: sa.Engine) -> None:
    text, key_id = keys.create(engine, "front end")
    (before,) = keys.list_all(engine)
    assert (before.id, before.name, before.last_used, before.revoked_at) == (
        key_id,
        "front end",
        None,
        None,
    )
    Doorkeeper(settings(), engine).identify(bearer(text))
    (after,) = keys.list_all(engine)
    assert after.last_used == datetime.now(UTC).date()


def test_a_use_that_cannot_be_noted_costs_nothing(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    text, key_id = keys.create(engine, "front end")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with caplog.at_level(logging.ERROR):
        assert Doorkeeper(settings(), engine).identify(bearer(text)) == key_id
    assert "could not be noted" in caplog.text


def test_a_use_is_not_waited_for_that_the_database_does_not_note(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "PATIENCE_S", 0.05)
    text, key_id = keys.create(engine, "front end")
    door = Doorkeeper(settings(), engine)
    with tables.writing(engine):  # nobody else writes meanwhile
        assert door.identify(bearer(text)) == key_id
        assert keys.list_all(engine)[0].last_used is None
    while keys.list_all(engine)[0].last_used is None:
        time.sleep(0.01)


def test_a_public_service_without_a_key_does_not_start(engine: sa.Engine) -> None:
    with pytest.raises(SettingsError) as caught:
        keys.check_start(settings(**PUBLIC), engine)
    (line,) = str(caught.value).splitlines()
    for way in ("syncnet-service keys create", "API_KEY", "ALLOW_ANONYMOUS=true"):
        assert way in line
    keys.check_start(settings(), engine)
    keys.check_start(settings(**PUBLIC, allow_anonymous=True), engine)
    keys.check_start(settings(**PUBLIC, api_key="a key by another way"), engine)
    _, key_id = keys.create(engine, "front end")
    keys.check_start(settings(**PUBLIC), engine)
    keys.revoke(engine, key_id)
    with pytest.raises(SettingsError):
        keys.check_start(settings(**PUBLIC), engine)


@pytest.fixture
def application(engine: sa.Engine) -> Callable[..., Flask]:
    def make(**given: object) -> Flask:
        app = Flask("test", static_folder=None)
        access.register(app)
        keys.register(app, Doorkeeper(settings(**given), engine))
        problems.register(app)
        app.add_url_rule("/who", "who", lambda: g.owner)
        for rule in keys.OPEN_ROUTES:
            app.add_url_rule(rule, rule, lambda **_: g.owner)
        return app

    return make


def test_every_route_but_the_open_ones_asks_for_a_key(
    application: Callable[..., Flask], engine: sa.Engine
) -> None:
    client = application(**PUBLIC).test_client()
    for rule in keys.OPEN_ROUTES:
        assert client.get(rule).text == "anonymous"
    for path in ("/who", "/metrics", "/no/such/route"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["X-Request-ID"]
    text, key_id = keys.create(engine, "front end")
    assert client.get("/who", headers=bearer(text)).text == key_id
    assert client.get("/no/such/route", headers=bearer(text)).status_code == 404
    assert client.options("/who").status_code == 200


def test_a_wrong_key_is_told_so_on_loopback_too(application: Callable[..., Flask]) -> None:
    client = application().test_client()
    assert client.get("/who").text == "anonymous"
    assert client.get("/who", headers={"X-API-Key": "no"}).status_code == 401
    assert client.get("/health", headers={"X-API-Key": "no"}).status_code == 200


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


def test_keys_are_made_listed_and_revoked_at_the_command_line(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    assert json.loads(command("keys", "list", "--json").stdout) == []
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    made = json.loads(command("keys", "create", "front [b]end", "--json").stdout)
    plain = command("keys", "create", "another")
    assert plain.stdout.startswith("sk_")
    assert plain.stdout.count("\n") == 1
    listed = json.loads(command("keys", "list", "--json").stdout)
    assert [row["name"] for row in listed] == ["front [b]end", "another"]
    shown = command("keys", "list").stdout
    assert "front [b]end" in shown
    assert made["key"].split("_", 2)[2] not in shown + json.dumps(listed)
    assert command("keys", "revoke", made["id"]).exit_code == 0
    again = command("keys", "revoke", made["id"])
    assert (again.exit_code, made["id"] in again.stderr) == (1, True)
    assert json.loads(command("keys", "list", "--json").stdout)[0]["revoked_at"]
    rows = [json.loads(line) for line in command("audit", "--json").stdout.splitlines()]
    assert [(row["action"], row["owner"]) for row in rows] == [
        ("key.created", audit.OPERATOR),
        ("key.created", audit.OPERATOR),
        ("key.revoked", audit.OPERATOR),
    ]
    assert rows[2]["job_id"] == made["id"]


@pytest.mark.parametrize("name", ["", "n" * 129, "line\nbreak"])
def test_a_name_that_is_none_is_refused(command: Callable[..., Result], name: str) -> None:
    answer = command("keys", "create", name)
    assert answer.exit_code == 2
    assert "a name has 1 to 128 printable characters" in answer.stderr


def test_a_database_that_cannot_be_used_is_named(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs.sqlite").write_bytes(b"this is no database" * 100)
    answer = command("keys", "list")
    assert answer.exit_code == 2
    assert "the database cannot be used" in answer.stderr
