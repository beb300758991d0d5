"""Settings: precedence, secrets in files, and mistakes told all at once, at their place, without secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from hdr_responder.domain.guards import Allowance, Allowances
from hdr_responder.domain.runs import Mode
from hdr_responder.errors import ConfigError, NotFoundError
from hdr_responder.settings import Scope, Settings, describe_settings, load_settings

SECRET = "s3cr3t-value"
SHIPPED = Path(__file__).parents[2] / "config" / "responder.yaml"

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(yaml, {"SLACK__CHANNEL": ...})``: settings of a document and of ``HDR_`` variables."""

    def _load(yaml: str = "", variables: Mapping[str, str] | None = None, **environ: str) -> Settings:
        path = tmp_path / "responder.yaml"
        path.write_text(yaml)
        prefixed = {f"HDR_{name}": text for name, text in (variables or {}).items()}
        return load_settings(path, {"HOME": str(tmp_path), **prefixed, **environ})

    return _load


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Callable[..., list[str]]:
    """The lines of the ConfigError that ``load`` raises, the document's folder left out."""

    def _problems(yaml: str = "", variables: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(yaml, variables)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return _problems


Problems = Callable[..., list[str]]


def test_defaults(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert settings.environment == "development"
    assert settings.http.port == 8080
    assert settings.http.host == "127.0.0.1"
    assert settings.http.max_body_bytes == 16 * 1024 * 1024
    assert settings.pagerduty.events_url == "https://events.pagerduty.com/v2/enqueue"
    assert settings.database.url is None
    assert settings.database.data_dir == tmp_path / ".local/share/hdr-responder"
    assert settings.artifacts_url == (tmp_path / ".local/share/hdr-responder/artifacts").as_uri()
    assert settings.retention.deliveries == timedelta(days=14)


def test_xdg_data_home_moves_the_embedded_data(load: Load) -> None:
    assert load(XDG_DATA_HOME="/srv/data").database.data_dir == Path("/srv/data/hdr-responder")
    assert load("", {"DATABASE__DATA_DIR": "/mine"}).database.data_dir == Path("/mine")


def test_the_shipped_file_loads_and_names_its_targets() -> None:
    settings = load_settings(SHIPPED, {})
    assert set(settings.targets.kubernetes) == {"prod-eu"}
    assert settings.targets.kubernetes["prod-eu"].kubeconfig is None
    with pytest.raises(ConfigError, match="hdr_empire has no url; set HDR_TARGETS__POSTGRES__HDR_EMPIRE__URL"):
        settings.targets.postgres_url("hdr_empire")
    with pytest.raises(NotFoundError, match=r"no targets\.postgres\.other"):
        settings.targets.postgres_url("other")


def test_a_default_file_may_be_absent(tmp_path: Path) -> None:
    assert load_settings(environ={"HDR_CONFIG__DIR": str(tmp_path)}).config.dir == tmp_path
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.yaml", {})


def test_the_environment_wins(load: Load) -> None:
    yaml = "http: {port: 1, host: 0.0.0.0}\nalertmanager: {url: http://a, tokens: [t1]}\nlog: {level: debug}\n"
    settings = load(yaml, {"HTTP__PORT": "2", "ALERTMANAGER__TOKENS": '["t2", "t3"]', "LOG__LEVEL": ""})
    assert (settings.http.port, settings.http.host) == (2, "0.0.0.0")
    assert [t.get_secret_value() for t in settings.alertmanager.tokens] == ["t2", "t3"]
    assert settings.alertmanager.urls("anything") == ("http://a",)
    assert settings.log.level == "debug", "an empty variable counts as unset"


def test_one_or_several_addresses(load: Load) -> None:
    assert load(variables={"ALERTMANAGER__URL": "http://a:1"}).alertmanager.urls("x") == ("http://a:1",)
    several = load(variables={"ALERTMANAGER__URL": '["http://a:1", "http://b:1"]'})
    assert several.alertmanager.urls("x") == ("http://a:1", "http://b:1")


def test_api_tokens_have_a_person_and_scopes(load: Load) -> None:
    tokens = {"abc": {"name": "oncall@example.com", "scopes": ["read", "operate"]}}
    (token,) = load(variables={"HTTP__TOKENS": json.dumps(tokens)}).http.tokens
    assert token.token.get_secret_value() == "abc"
    assert token.name == "oncall@example.com"
    assert token.scopes == {Scope.READ, Scope.OPERATE}


def test_durations_as_people_write_them(load: Load) -> None:
    assert load("alertmanager: {late_window: 1h30m}").alertmanager.late_window == timedelta(minutes=90)
    assert load(variables={"ALERTMANAGER__LATE_WINDOW": "90s"}).alertmanager.late_window == timedelta(seconds=90)


def test_every_secret_may_be_in_a_file(load: Load, tmp_path: Path) -> None:
    for described in describe_settings():
        if not described.secret or "<name>" in described.variable:
            continue
        value, channel = _example(described.key), {"HDR_SLACK__CHANNEL": "#incidents"}
        file = tmp_path / described.key
        file.write_text(f"{value}\n")
        by_file = load(**channel, **{f"{described.variable}_FILE": str(file)})
        assert by_file == load(**channel, **{described.variable: value}), described.variable
        section, key = described.key.split(".")
        assert by_file == load(f"{section}: {{{key}_file: {file}}}", **channel), described.key


def _example(key: str) -> str:
    if key.endswith("tokens"):
        return '{"abc": {"name": "a", "scopes": ["read"]}}' if key == "http.tokens" else '["abc"]'
    if key.endswith("basic"):
        return '["user:word"]'
    schemes = {"database.url": "postgresql", "redis.url": "redis"}
    return f"{schemes.get(key, 'http')}://u:p@host/0" if key.endswith("url") else SECRET


def test_a_target_redis(load: Load, tmp_path: Path) -> None:
    (tmp_path / "address").write_text("rediss://u:p@cache:6380\n")
    yaml = f"targets: {{redis: {{main: {{cluster: true, url_file: {tmp_path}/address}}, bare: {{}}}}}}"
    targets = load(yaml).targets
    assert targets.redis_url("main") == "rediss://u:p@cache:6380"
    assert (targets.redis["main"].cluster, targets.redis["bare"].cluster) == (True, False)
    assert "u:p" not in repr(targets)
    with pytest.raises(ConfigError, match="bare has no url; set HDR_TARGETS__REDIS__BARE__URL"):
        targets.redis_url("bare")
    with pytest.raises(NotFoundError, match=r"no targets\.redis\.other"):
        targets.redis_url("other")
    assert load("", {"TARGETS__REDIS__MAIN__URL": "redis://x"}).targets.redis_url("main") == "redis://x"


def test_secret_files_of_targets_and_sources(load: Load, tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://u:p@db/hdr\n")
    (tmp_path / "tokens").write_text('["one"]')
    yaml = f"targets: {{postgres: {{Main-DB: {{url_file: {tmp_path}/dsn}}}}}}"
    assert load(yaml).targets.postgres_url("Main-DB") == "postgresql://u:p@db/hdr"
    named = {"TARGETS__POSTGRES__MAIN_DB__URL": "postgresql://other/x"}
    assert load(yaml, named).targets.postgres_url("Main-DB") == "postgresql://other/x", "spelled as in the document"
    settings = load(
        variables={
            "TARGETS__POSTGRES__HDR_EMPIRE__URL_FILE": f"{tmp_path}/dsn",
            "ALERTMANAGER__SOURCES__PROD_US__TOKENS_FILE": f"{tmp_path}/tokens",
        }
    )
    assert settings.targets.postgres_url("hdr_empire") == "postgresql://u:p@db/hdr"
    assert settings.alertmanager.sources["prod-us"].tokens[0].get_secret_value() == "one"


def test_a_secret_file_of_the_document_is_not_read_when_the_environment_has_the_secret(load: Load) -> None:
    settings = load("database: {url_file: /nowhere}", {"DATABASE__URL": "postgresql://db/hdr"})
    assert settings.database.url is not None


def test_all_mistakes_are_told_at_once_and_at_their_place(problems: Problems) -> None:
    yaml = (
        "http:\n  port: many\n  hots: x\nslack:\n  bot_token: a b\nlog: {format: xml}\n"
        "alertmanager:\n  late_window: 15\n  sources:\n    Prod_EU: {}\n"
    )
    told = problems(yaml, {"REDIS__URL": "http://x", "PROMETHEUS__URL_FILE": "/nowhere", "DATABASE__POOL_SIZE": "1"})
    assert told == [
        "HDR_PROMETHEUS__URL_FILE: /nowhere cannot be read: No such file or directory",
        "HDR_DATABASE__POOL_SIZE: Input should be greater than or equal to 2",
        "HDR_REDIS__URL: must be an address that begins with redis:// or rediss:// or unix://",
        "responder.yaml:2:9: http.port: must be a whole number",
        "responder.yaml:3:3: http.hots: no such setting (did you mean 'host'?)",
        "responder.yaml:10:5: alertmanager.sources.Prod_EU: this name must be at most 64 characters of a-z, 0-9 and -",
        "responder.yaml:8:16: alertmanager.late_window: 15 has no unit; expected for example 30s, 5m or 1h30m",
        "responder.yaml:5:14: slack.bot_token: must not be empty and must not contain spaces or line breaks",
        "responder.yaml:6:15: log.format: Input should be 'json' or 'console'",
    ]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("SLACK__BOT_TOKE", "HDR_SLACK__BOT_TOKEN"),
        ("SLACK__BOT_TOKEN_FIEL", "HDR_SLACK__BOT_TOKEN_FILE"),
        ("SLAK__BOT_TOKEN", "HDR_SLACK__BOT_TOKEN"),
        ("SLACK_BOT_TOKEN", "HDR_SLACK__BOT_TOKEN"),
        ("ENVIROMENT", "HDR_ENVIRONMENT"),
        ("HTTP_PORT", "HDR_HTTP__PORT"),
        ("DATABASE_URL", "HDR_DATABASE__URL"),
    ],
)
def test_a_mistyped_variable_is_an_error_with_the_nearest_name(problems: Problems, name: str, suggestion: str) -> None:
    assert problems(variables={name: SECRET}) == [f"HDR_{name}: no such setting (did you mean {suggestion}?)"]


def test_a_section_is_no_setting(problems: Problems) -> None:
    (told,) = problems(variables={"SLACK": "{}"})
    assert told.startswith("HDR_SLACK: no such setting")
    assert problems(variables={"HTTP__PORT_FILE": "/x"})[0].startswith("HDR_HTTP__PORT_FILE: no such setting")


def test_variables_of_others_are_left_alone(load: Load) -> None:
    """Kubernetes sets variables for every Service, also for one called hdr-http."""
    load(
        variables={
            "EMPIRE_PASSWORD": "x",
            "RESPONDER_SERVICE_HOST": "10.0.0.1",
            "HTTP_PORT": "tcp://10.0.0.1:8080",
            "HTTP_SERVICE_PORT": "8080",
            "HTTP_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        }
    )


def test_names_fixed_for_later_are_told_and_ignored(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    load("smtp: {url: x}\npagerduty: {webhook_secret: x}", {"PAGERDUTY__WEBHOOK_SECRET": SECRET})
    told = "\n".join(caplog.messages)
    assert "smtp is ignored" in told
    assert "pagerduty.webhook_secret is ignored" in told
    assert "HDR_PAGERDUTY__WEBHOOK_SECRET is ignored" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SLACK__BOT_TOKEN": SECRET}, "HDR_SLACK__CHANNEL: is required where slack.bot_token is set"),
        (
            {"SLACK__BOT_TOKEN": SECRET, "SLACK__BOT_TOKEN_FILE": "{secret_file}", "SLACK__CHANNEL": "c"},
            "HDR_SLACK__BOT_TOKEN_FILE: HDR_SLACK__BOT_TOKEN sets the same; only one of them may be set",
        ),
        ({"HTTP__TOKENS": f'{{"{SECRET}": '}, "HDR_HTTP__TOKENS: is not JSON: Expecting value (line 1, column 18)"),
        ({"HTTP__TOKENS": f'{{"{SECRET}": "read"}}'}, "HDR_HTTP__TOKENS: http.tokens.0.scopes: is required"),
        ({"HTTP__TOKENS": f'["{SECRET}"]'}, "HDR_HTTP__TOKENS: http.tokens.0: must be a mapping"),
        (
            {"ALERTMANAGER__TOKENS": SECRET},
            "HDR_ALERTMANAGER__TOKENS: must be a list (in the environment a JSON list)",
        ),
        (
            {"ALERTMANAGER__BASIC": f'["{SECRET}"]'},
            "HDR_ALERTMANAGER__BASIC: alertmanager.basic.0: must be written user:password",
        ),
        (
            {"DATABASE__URL": f"mysql://u:{SECRET}@h/"},
            "HDR_DATABASE__URL: must be an address that begins with postgresql:// or postgres://",
        ),
        ({"SLACK__API_URL": f"https://u:{SECRET}@h/"}, "HDR_SLACK__API_URL: must not contain a user or password"),
        (
            {"ALERTMANAGER__TOKENS": f'["{SECRET}"]', "ALERTMANAGER__SOURCES__EU__TOKENS": f'["{SECRET}"]'},
            "HDR_ALERTMANAGER__SOURCES: alertmanager and alertmanager.sources.eu have a credential in common, "
            "which cannot tell them apart",
        ),
    ],
)
def test_errors_hold_no_secret(problems: Problems, tmp_path: Path, variables: dict[str, str], told: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    filled = {name: text.replace("{secret_file}", f"{tmp_path}/secret") for name, text in variables.items()}
    assert problems(variables=filled) == [told]


def test_no_secret_shows_in_any_representation(load: Load) -> None:
    settings = load(
        variables={
            "DATABASE__URL": f"postgresql://u:{SECRET}@h/d",
            "REDIS__URL": f"redis://:{SECRET}1@h",
            "HTTP__TOKENS": json.dumps({f"{SECRET}2": {"name": "a", "scopes": ["admin"]}}),
            "ALERTMANAGER__BASIC": f'["user:{SECRET}3"]',
            "ALERTMANAGER__SOURCES__EU__TOKENS": f'["{SECRET}4"]',
            "TARGETS__POSTGRES__X__URL": f"postgresql://u:{SECRET}5%40@h/d",
        }
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert SECRET not in shown
    assert {SECRET, *(f"{SECRET}{i}" for i in range(1, 5)), f"{SECRET}5@"} <= settings.secrets()


def test_serving_needs_credentials_and_production_a_database(load: Load) -> None:
    with pytest.raises(ConfigError, match="HDR_ALERTMANAGER__TOKENS: no tokens"):
        load().require_serving()
    with pytest.raises(ConfigError, match=r"(?s)HDR_ALERTMANAGER__TOKENS.*HDR_DATABASE__URL: required"):
        load(variables={"ENVIRONMENT": "production"}).require_serving()
    with pytest.raises(ConfigError, match="HDR_DATABASE__URL: required"):
        load(variables={"ENVIRONMENT": "production"}).require_database()
    for credentials in (
        {"ALERTMANAGER__TOKENS": '["t"]'},
        {"ALERTMANAGER__BASIC": '["u:p"]'},
        {"ALERTMANAGER__SOURCES__EU__TOKENS": '["t"]'},
    ):
        load(variables=credentials).require_serving()


def test_the_cap_of_automation_follows_the_environment(load: Load) -> None:
    assert load().mode_cap is Mode.AUTO
    assert load(variables={"ENVIRONMENT": "production"}).mode_cap is Mode.OBSERVE
    assert load("automation: {modes: {staging: auto}}", {"ENVIRONMENT": "staging"}).mode_cap is Mode.AUTO
    assert load(
        "automation:\n", {"AUTOMATION__MODES__PRODUCTION": "approve", "ENVIRONMENT": "production"}
    ).mode_cap is (Mode.APPROVE)


def test_budgets_of_all_playbooks_together(load: Load, problems: Problems) -> None:
    hour = timedelta(hours=1)
    assert load().automation.budgets.allowances == Allowances(fleet=Allowance(runs=30, per=hour))
    written = "automation: {budgets: {fleet: {runs: 5}, effects: {workload: {runs: 2, per: 10m}}}}"
    assert load(written, {"AUTOMATION__BUDGETS__FLEET__PER": "2h"}).automation.budgets.allowances == Allowances(
        fleet=Allowance(runs=5, per=2 * hour), effects={"workload": Allowance(runs=2, per=timedelta(minutes=10))}
    )
    assert len(problems("automation: {budgets: {fleet: {runs: 0, per: 8d}, effects: {workload: {runs: 1}}}}")) == 3


def test_a_document_that_is_no_mapping_or_no_yaml(problems: Problems) -> None:
    assert problems("- a") == ["responder.yaml:1:1: must be one document, a mapping"]
    assert problems("a: [", {"ENVIROMENT": "x"})[-1].startswith("HDR_ENVIROMENT"), "the environment is checked too"
    assert problems("http: {port: 1}\nhttp: {}") == [
        "responder.yaml:2:1: duplicate key (first at line 1) (got 'http')",
    ]
    assert problems("slack: nothing") == ["responder.yaml:1:8: slack: must be a mapping"]


def test_every_setting_is_described() -> None:
    described = {d.key: d for d in describe_settings()}
    assert all(d.description for d in described.values())
    assert described["slack.bot_token"].variable == "HDR_SLACK__BOT_TOKEN"
    assert described["targets.postgres.<name>.url"].variable == "HDR_TARGETS__POSTGRES__<name>__URL"
    assert described["alertmanager.late_window"].default == "5m"
    assert described["database.data_dir"].default == "${XDG_DATA_HOME:-~/.local/share}/hdr-responder"


WEB = """
targets:
  http:
    status: {url: "https://status.example/api", token: abc-token, headers: {X-Org: "org 7"}, ca: ~/ca.pem}
  tls:
    shop: {address: "shop.example:443"}
"""


def test_a_web_service_with_what_it_is_sent(load: Load) -> None:
    settings = load(WEB, {"TARGETS__HTTP__STATUS__HEADERS": json.dumps({"X-Org": "org 8", "X-Key": SECRET})})
    target = settings.targets.http["status"]
    assert target.sent == {"authorization": "Bearer abc-token", "x-org": "org 8", "x-key": SECRET}
    assert target.ca == Path("~/ca.pem").expanduser()
    assert {SECRET, "org 8", "abc-token"} <= settings.secrets()
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('{url: "https://ann:pw@x.example", token: t}', "keep one of them"),
        ('{url: "https://x.example", token: t, headers: {Authorization: Token s3cr3t-value}}', "keep one of them"),
        ('{url: "https://x.example", headers: {Host: s3cr3t-value}}', "the name of a header"),
        ('{url: "https://x.example", headers: {"X Y": s3cr3t-value}}', "the name of a header"),
        ('{url: "https://x.example", headers: {X-Key: "s3cr3t-value\\r\\nX-Other: 1"}}', "one line of ASCII"),
        ('{url: "ftp://x.example"}', "begins with http"),
        ("{}", "required"),
    ],
)
def test_a_web_service_that_cannot_be_asked(problems: Problems, written: str, why: str) -> None:
    (told,) = problems(f"targets: {{http: {{status: {written}}}}}")
    assert why in told
    assert told.startswith(("responder.yaml:1:", "HDR_TARGETS__HTTP__STATUS__"))
    assert SECRET not in told


@pytest.mark.parametrize("address", ["shop.example", ":443", "shop.example:0", "shop.example:x", "https://shop:443/"])
def test_a_server_that_is_no_host_and_port(problems: Problems, address: str) -> None:
    (told,) = problems(f'targets: {{tls: {{shop: {{address: "{address}"}}}}}}')
    assert "host:port" in told
