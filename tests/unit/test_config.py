"""Settings: read, refused, documented."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import SETTINGS, Config, from_env, settings_as_markdown
from penstock.errors import Refusal

SETTINGS_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_env({"HOME": "/nowhere"}) == Config()


def test_every_setting_is_read_from_its_variable() -> None:
    config = from_env(
        {
            "PENSTOCK_DATABASE_URL": "postgresql://shop@db.example/penstock",
            "PENSTOCK_DATA_DIR": "/srv/penstock",
            "PENSTOCK_HOST": "::1",
            "PENSTOCK_PORT": "8080",
            "PENSTOCK_ACCOUNT": "north_2",
            "PENSTOCK_LOG_LEVEL": "debug",
            "PENSTOCK_LOG_FORMAT": "json",
            "PENSTOCK_API_PROCESSES": "2",
            "PENSTOCK_WORKER_PROCESSES": "0",
            "PENSTOCK_POOL_SIZE": "20",
            "PENSTOCK_GROUP_MAX_ORDERS": "200",
        }
    )
    assert config == Config(
        database_url="postgresql://shop@db.example/penstock",
        data_dir=Path("/srv/penstock"),
        host="::1",
        port=8080,
        account="north_2",
        log_level="debug",
        log_format="json",
        api_processes=2,
        worker_processes=0,
        pool_size=20,
        group_max_orders=200,
    )


def test_an_empty_value_counts_as_not_set() -> None:
    assert from_env({"PENSTOCK_PORT": " "}).port == 8000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PENSTOCK_DATABASE_URL", "mysql://shop@db.example/penstock"),
        ("PENSTOCK_DATA_DIR", "relative/path"),
        ("PENSTOCK_DATA_DIR", "~no_such_user_of_this_machine/penstock"),
        ("PENSTOCK_HOST", "0.0.0.0"),  # noqa: S104 - the very value that must be refused
        ("PENSTOCK_PORT", "0"),
        ("PENSTOCK_PORT", "65536"),
        ("PENSTOCK_PORT", "http"),
        ("PENSTOCK_ACCOUNT", "North"),
        ("PENSTOCK_ACCOUNT", "x" * 41),
        ("PENSTOCK_LOG_LEVEL", "loud"),
        ("PENSTOCK_GROUP_MAX_ORDERS", "1001"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_the_variable_s_name(variable: str, value: str) -> None:
    with pytest.raises(Refusal) as refused:
        from_env({variable: value})
    assert refused.value.code == "setting_unusable"
    assert refused.value.message.startswith(variable)
    assert refused.value.data == {"variable": variable}


def test_a_refused_database_address_is_not_repeated() -> None:
    with pytest.raises(Refusal) as refused:
        from_env({"PENSTOCK_DATABASE_URL": "mysql://shop:hunter2@db.example"})
    assert "hunter2" not in refused.value.message


def test_a_misspelt_name_is_refused_with_the_right_one() -> None:
    with pytest.raises(Refusal, match="did you mean PENSTOCK_PORT") as refused:
        from_env({"PENSTOCK_PROT": "8000"})
    assert refused.value.code == "setting_unknown"


@given(st.text(max_size=20))
def test_any_text_for_a_port_is_a_port_or_a_refusal(raw: str) -> None:
    try:
        port = from_env({"PENSTOCK_PORT": raw}).port
    except Refusal as refusal:
        assert refusal.code == "setting_unusable"  # noqa: PT017 - either outcome is right
    else:
        assert 1 <= port <= 65535


def test_every_field_has_one_documented_setting() -> None:
    assert [setting.field for setting in SETTINGS] == [*Config.__struct_fields__]


def test_every_documented_default_is_the_default() -> None:
    defaults = msgspec.structs.asdict(Config())
    for setting in SETTINGS:
        default = defaults[setting.field]
        if setting.field != "data_dir":
            assert setting.default == ("none" if default is None else f"`{default}`")


def test_the_settings_page_is_what_the_code_says() -> None:
    assert SETTINGS_PAGE.read_text(encoding="utf-8") == settings_as_markdown()
