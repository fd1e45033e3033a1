"""The settings: what is refused says field, value and hint; the sample file is every default."""

import datetime as dt
import re
import tomllib

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho

from voltd import config, errors, models, resources
from voltd.config import loading
from voltd.pipeline.decode import decoder as decode


def _write(tmp_path, text):
    path = tmp_path / "voltd.toml"
    path.write_text(text)
    return path


def test_sample_configuration_is_the_defaults(tmp_path):
    """Uncommenting every setting of config/voltd.toml gives the built-in defaults, so the file tells the truth."""
    text = (resources.share("config") / "voltd.toml").read_text()
    lines = [re.sub(r"^# ", "", line) for line in text.splitlines() if not line.startswith("##")]
    optional = (
        "username",
        "password_file",
        "ca_file",
        "cert_file",
        "key_file",
        "client_id",
        "share_group",
        "migrate_dsn",
        "directory",
        "rules_file",
        "previous_key",
    )
    lines = [line for line in lines if not line.startswith((*optional, "max_messages", "max_age_days"))]
    assert loading.load(_write(tmp_path, "\n".join(lines)), environ={}) == config.Settings()


def test_sample_configuration_names_every_setting():
    """No setting is missing from config/voltd.toml."""
    text = (resources.share("config") / "voltd.toml").read_text()
    named = tomllib.loads("\n".join(re.sub(r"^# ", "", line) for line in text.splitlines() if "##" not in line))

    def names(model, found, prefix=""):
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, config.Section):
                names(field.annotation, found, f"{prefix}{name}.")
            else:
                found.add(prefix + name)
        return found

    def flat(values, prefix=""):
        for name, value in values.items():
            nested = isinstance(value, dict) and value  # an empty one is the default of a table
            yield from flat(value, f"{prefix}{name}.") if nested else [prefix + name]

    secrets = {"mqtt.password", "database.password"}  # environment only: a file is readable for too many
    tables = {"alerts.channels", "devices"}  # named by whoever writes them; the file explains their keys
    assert names(config.Settings, set()) - secrets - tables == set(flat(named))


def test_environment_wins_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VOLTD_MQTT__HOST", "from-environment")
    settings = loading.load(_write(tmp_path, '[mqtt]\nhost = "from-file"\nport = 1884\n'), environ={})
    assert (settings.mqtt.host, settings.mqtt.port) == ("from-environment", 1884)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mqtt]\nport = 70000", "mqtt.port = 70000"),
        ("[mqtt]\nhots = 'x'", "mqtt.hots"),
        ("[batch]\nmax_messages = 30000", "above mqtt.receive_maximum = 20000"),
        ("[limits]\nmax_held_bytes = 1048576", "limits.max_held_bytes = 1048576"),
        ("[retention]\nraw_days = 5", "columnstore_after_days = 7 is not below raw_days = 5"),
        ("[mqtt]\nca_file = 'x'", "set tls = true"),
        ("[mqtt.topics]\nvehicle = ['a']\nmeter = ['a']", "'a' is named twice"),
        ("[mqtt.topics]\nvehicle = ['a/+']\nmeter = ['+/b']", "'a/+' and '+/b' overlap"),
        ("[mqtt.topics]\nvehicle = ['$share/g/a/#']\ningest = ['a']", "'$share/g/a/#' and 'a' overlap"),
        ("[limits]\nmax_age_days = 800000", "limits.max_age_days = 800000"),
        ("[limits]\nignore = {batteryTemperature = [-127]}", "'batteryTemperature' is no field of a reading"),
        ("[limits]\nignore = {batteryTemp = [true]}", "limits.ignore"),
        ("[limits]\nbad_field = 'drop'", "limits.bad_field = 'drop'"),
        ("[timestamps]\nzone = {'volt/vehicle/+/telemetry' = 'Europe/Atlantis'}", "'Europe/Atlantis' is no time zone"),
        ("[timestamps]\nzone = {'volt/car/#' = 'Europe/Berlin'}", "no topic that voltd subscribes to"),
        ("[timestamps]\nzone = {'volt/#/x' = 'Europe/Berlin'}", "# may only be the whole last level"),
        ("timezone = 'Europe/Atlantis'", "timezone = 'Europe/Atlantis': 'Europe/Atlantis' is no time zone"),
        ("[retention]\nraw_days = 800000", "retention.raw_days = 800000"),
        ("[mqtt.topics]\nvehicle = ['volt/#/x']", "# may only be the whole last level"),
        ("[mqtt.topics]\nvehicle = ['$share/g']", "$share/<group>/<filter>"),
        ("[mqtt]\nhost = ''", "mqtt.host = ''"),
        ("[database]\ndsn = 'garbage'", "not a libpq connection string"),
        ("instance = 'a/b'", "instance = 'a/b'"),
        ("not toml", "is not TOML"),
    ],
)
def test_incoherent_settings_are_refused_with_field_and_value(tmp_path, text, said):
    """Invariant 2: an incoherent configuration is refused at start, exit code 78."""
    with pytest.raises(errors.ConfigurationError) as caught:
        loading.load(_write(tmp_path, text), environ={})
    assert said in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 78


_LEVELS = st.sampled_from(["a", "b", "", "$x"])
_TOPICS = st.lists(_LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
_FILTERS = st.builds(
    "".join,
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), min_size=1, max_size=3).map("/".join).filter(bool),
        st.sampled_from(["", "/#"]),
    ),
) | st.just("#")


@given(st.lists(_FILTERS, min_size=2, max_size=2, unique=True), st.lists(_TOPICS, min_size=5, max_size=20))
def test_filters_that_a_topic_can_match_both_are_refused(filters, topics):
    """A broker may send such a message twice, and to one device type only would it go."""
    if any(all(paho.topic_matches_sub(one, topic) for one in filters) for topic in topics):
        with pytest.raises(pydantic.ValidationError, match="overlap"):
            config.Topics(vehicle=filters)


@pytest.mark.parametrize("filters", [("a/+", "b/+"), ("a/+/x", "a/+/y"), ("a/+", "a/+/b"), ("#", "$a/b"), ("a/#", "b")])
def test_filters_that_no_topic_can_match_both_are_fine(filters):
    """A fleet's filters stand beside each other."""
    assert config.Topics(vehicle=filters[:1], meter=filters[1:], ingest=()).vehicle == filters[:1]


def test_the_oldest_reading_that_can_be_allowed(tmp_path):
    """A hundred years ago is a time that can be computed with."""
    settings = loading.load(_write(tmp_path, "[limits]\nmax_age_days = 36500"), environ={})
    arrived = models.Message("volt/vehicle/V1/telemetry", b"{}", 1, dt.datetime.now(dt.UTC))
    decoder = decode.Decoder(settings.mqtt.topics, settings.limits, settings.max_age_days)
    assert [letter.reason for letter in decoder.decode([arrived]).dead_letters] == [models.Reason.MISSING_FIELD]


def test_raw_readings_are_kept_as_long_as_they_may_be_old(tmp_path):
    settings = loading.load(_write(tmp_path, "[limits]\nmax_age_days = 400"), environ={})
    assert (settings.max_age_days, settings.raw_retention_days) == (400, 400)


@pytest.mark.parametrize(("name", "said"), [("VOLTD_MQTT_PORT", "write VOLTD_MQTT__PORT"), ("VOLTD_FOO", "no setting")])
def test_misspelt_variables_are_refused(tmp_path, name, said):
    """One underscore for two would be ignored without a word."""
    with pytest.raises(errors.ConfigurationError, match=said):
        loading.load(_write(tmp_path, ""), environ={name: "1", "VOLTD_LOCAL_SOURCE": "host"})


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(errors.ConfigurationError, match="no configuration file"):
        loading.load(tmp_path / "absent.toml", environ={})


def test_password_comes_from_its_file(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    settings = loading.load(_write(tmp_path, f"[mqtt]\npassword_file = '{tmp_path}/secret'"), environ={})
    assert settings.mqtt.password.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_systemd_credentials_are_found_by_themselves(tmp_path):
    """LoadCredential=database-password:... needs no setting; a blank fallback means no password."""
    (tmp_path / "database-password").write_text("db")
    (tmp_path / "mqtt-password").write_text("\n")
    settings = loading.load(_write(tmp_path, ""), environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.database.password.get_secret_value() == "db"
    assert settings.mqtt.password is None
