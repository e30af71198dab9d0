from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from shared.core.config import Settings, merged, read_text, redacted
from shared.core.errors import ConfigError


class Model(Settings):
    max_depth: int = 3
    trees: tuple[int, ...] = (10,)


class Example(Settings):
    name: str = "x"
    model: Model = Model()


def test_defaults_hold_where_nothing_is_said() -> None:
    assert Example.load() == Example(name="x", model=Model(max_depth=3))


def test_set_wins_over_yaml_and_later_yaml_over_earlier() -> None:
    config = Example.load("name: a\nmodel: {max_depth: 4}", "name: b", overrides=["model.max_depth=6"])

    assert (config.name, config.model.max_depth) == ("b", 6)


def test_a_layer_changes_only_what_it_names() -> None:
    assert merged({"model": {"a": 1, "b": 2}}, {"model": {"b": 3}}) == {"model": {"a": 1, "b": 3}}


def test_set_reads_lists() -> None:
    assert Example.load(overrides=["model.trees=[5, 6]"]).model.trees == (5, 6)


def test_an_unknown_setting_is_refused_with_the_closest_name() -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*model\.max_dept.*Did you mean 'max_depth'"):
        Example.load(overrides=["model.max_dept=6"])


def test_a_wrong_value_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"'model\.max_depth' is 'deep'"):
        Example.load("model: {max_depth: deep}")


@pytest.mark.parametrize("text", ["- a\n- b", "a: [1", "just words"])
def test_a_config_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="CONFIG_UNREADABLE"):
        Example.load(text)


def test_a_set_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no '='"):
        Example.load(overrides=["model.max_depth"])


def test_a_set_below_a_plain_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a group of settings"):
        Example.load("name: a", overrides=["name.first=b"])


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Example().name = "other"


def test_a_missing_config_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="CONFIG_MISSING"):
        read_text(str(tmp_path / "none.yaml"))


class Login(Settings):
    password: str = "env:X"
    conf: Mapping[str, str] = {}
    logins: Mapping[str, "Login"] = {}


Login.model_rebuild()


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("password: [83749201, hunter2]", []),
        ("password: 83749201", []),
        ("conf: 'jdbc:postgresql://u:hunter2@h/db'", []),
        ("logins: {a: 'http://u:hunter2@h/db'}", []),
        ("password: @hunter2", []),
        ("password: %hunter2", []),
        ("password: !hunter2 x", []),
        ("password: *hunter2", []),
        ("conf: {a: 1}", ["conf.a.secret.key=[hunter2"]),
        ("conf: {a: 1}", ["conf.a.secret.key={b: hunter2}"]),
        ("", ["password:hunter2"]),
        ("password: env:X", ["password.a=hunter2"]),
    ],
)
def test_an_error_about_a_setting_never_repeats_a_secret(text: str, overrides: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Login.load(text, overrides=overrides)

    assert "hunter2" not in str(caught.value)
    assert "83749201" not in str(caught.value)


def test_a_yaml_error_says_the_place() -> None:
    with pytest.raises(ConfigError, match="line 2"):
        Login.load("conf: {}\npassword: @hunter2")


def test_below_a_setting_with_names_of_its_own_the_rest_of_a_path_is_one_name() -> None:
    config = Login.load(overrides=["conf.spark.x.y=z", "logins.crm.conf.a.b=c", "logins.crm.password=env:Y"])

    assert config.conf == {"spark.x.y": "z"}
    assert config.logins["crm"] == Login(password="env:Y", conf={"a.b": "c"})


def test_a_dump_shows_references_but_no_secret_and_no_login_of_an_address() -> None:
    shown = redacted(
        Login(
            conf={
                "spark.hadoop.fs.s3a.secret.key": "hunter2",
                "spark.hadoop.fs.azure.account.key.me.dfs.core.windows.net": "env:KEY",
                "spark.hadoop.fs.s3a.aws.credentials.provider": "org.Provider",
                "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
                "a": "jdbc:postgresql://u:hunter2@h/db?sslpassword=hunter2&ssl=true",
                "b": "https://hunter2@h/x",
                "c": "-Dhttp.proxyPassword=hunter2 -Xss4m",
                "d": "abfss://container@account.dfs.core.windows.net/x",
                "e": "http://mlflow:5000/a@b",
                "f": "s3a://bucket/table/key=5/token=1",
            }
        )
    )

    assert "hunter2" not in str(shown)
    assert shown["password"] == "env:X"
    assert list(shown["conf"].values()) == [
        "******",
        "env:KEY",
        "org.Provider",
        "LAST_WIN",
        "jdbc:postgresql://******@h/db?sslpassword=******&ssl=true",
        "https://******@h/x",
        "-Dhttp.proxyPassword=****** -Xss4m",
        "abfss://container@account.dfs.core.windows.net/x",
        "http://mlflow:5000/a@b",
        "s3a://bucket/table/key=5/token=1",
    ]


class Alerts(Settings):
    webhook: str | None = None
    webhook_hosts: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("webhook", "shown"),
    [
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/******"),
        ("http://me:hunter2@10.0.0.1:8080?hunter2", "http://10.0.0.1:8080/******"),
        ("hooks.slack.com/hunter2", "******"),
        ("env:ALERT_HOOK", "env:ALERT_HOOK"),
        (None, None),
    ],
)
def test_a_dump_shows_of_a_webhook_the_host_alone(webhook: str | None, shown: str | None) -> None:
    hosts = ["hooks.slack.com"]

    assert redacted(Alerts(webhook=webhook, webhook_hosts=tuple(hosts))) == {"webhook": shown, "webhook_hosts": hosts}
