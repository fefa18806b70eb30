"""Where settings come from, which source wins, and what the errors say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rerankd.errors import SettingsError
from rerankd.settings import (
    MODEL_SETTINGS,
    SECRET,
    Effective,
    Mark,
    Settings,
    configures_allocator,
    load_settings,
    names_marked,
    state_folder,
    table,
)

KEY = "sk-not-for-the-log"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "rerankd.toml"


def loaded(
    config: Path | None = None,
    environment: dict[str, str] | None = None,
    **flags: Any,
) -> Effective:
    return load_settings(flags, config=config, environment=environment or {})


def refusal(
    config: Path | None = None, environment: dict[str, str] | None = None, **flags: Any
) -> SettingsError:
    with pytest.raises(SettingsError) as refused:
        loaded(config, environment, **flags)
    assert "\n" not in refused.value.message
    return refused.value


def test_nothing_given_means_the_defaults() -> None:
    """Without any source every setting has its default and says so."""
    found = loaded()
    assert Settings() == found.settings
    assert {setting.name: "default" for setting in table()} == found.sources


def test_each_source_wins_over_the_one_before(config: Path) -> None:
    """Defaults < file < environment < flags, each setting with the name of its source."""
    config.write_text('port = 1001\nhost = "10.0.0.1"\nthreads = 3\n')
    variables = {"RERANKD_PORT": "1002", "RERANKD_HOST": "10.0.0.2"}
    found = loaded(config, variables, port=1003)
    settings = found.settings
    expected = (1003, "10.0.0.2", 3, 0)
    assert expected == (settings.port, settings.host, settings.threads, settings.workers)
    expected_sources = ("--port", "RERANKD_HOST", str(config), "default")
    names = ("port", "host", "threads", "workers")
    assert expected_sources == tuple(found.sources[name] for name in names)


def test_what_is_not_given_does_not_hide_the_source_below(config: Path) -> None:
    """A flag that is None and an empty variable count as not given."""
    config.write_text("port = 1001\n")
    found = loaded(config, {"RERANKD_PORT": ""}, port=None)
    expected = (1001, str(config))
    assert expected == (found.settings.port, found.sources["port"])


def test_a_flag_may_say_false_or_zero(config: Path) -> None:
    """False and 0 are values, not the absence of one."""
    config.write_text("mmap = true\nworkers = 4\n")
    settings = loaded(config, mmap=False, workers=0).settings
    expected = (False, 0)
    assert expected == (settings.mmap, settings.workers)


def test_the_environment_names_the_file(config: Path) -> None:
    """RERANKD_CONFIG is the file unless one is given directly."""
    config.write_text("port = 1001\n")
    other = config.with_name("other.toml")
    other.write_text("port = 1002\n")
    variables = {"RERANKD_CONFIG": str(config)}
    expected = (1001, 1002)
    ports = tuple(loaded(path, variables).settings.port for path in (None, other))
    assert expected == ports


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment given, the process's own is read."""
    monkeypatch.setenv("RERANKD_PORT", "1001")
    found = load_settings()
    expected = (1001, "RERANKD_PORT")
    assert expected == (found.settings.port, found.sources["port"])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("tensor_split", "3,1", (3.0, 1.0)),
        ("tensor_split", " 0.5 , 2 ,", (0.5, 2.0)),
        ("api_keys", "one", ("one",)),
        ("api_keys", "one, two,,three ", ("one", "two", "three")),
        ("mmap", "true", True),
        ("mlock", "1", True),
        ("drain_timeout", "2.5", 2.5),
        ("max_documents", "7", 7),
        ("gpu_layers", "12", "12"),
        ("model", "hf:a/b:c.gguf", "hf:a/b:c.gguf"),
    ],
)
def test_variables_are_read_as_their_settings_type(name: str, text: str, value: object) -> None:
    """A variable's text becomes a number, a truth value or a list, as the setting wants."""
    found = loaded(environment={"RERANKD_" + name.upper(): text})
    assert value == getattr(found.settings, name)


def test_files_and_flags_may_give_lists_too(config: Path) -> None:
    """A list is a TOML array in the file and comma-separated in a flag."""
    config.write_text('api_keys = ["one", "two"]\ntensor_split = [1, 2.5]\n')
    settings = loaded(config, tensor_split="4,5").settings
    expected = (("one", "two"), (4.0, 5.0))
    assert expected == (settings.api_keys, settings.tensor_split)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("threads", "-1"),
        ("threads", "1.5"),
        ("max_documents", "0"),
        ("read_timeout", "0"),
        ("read_timeout", "nan"),
        ("drain_timeout", "-1"),
        ("drain_timeout", "nan"),
        ("gpu_layers", "some"),
        ("gpu_layers", "-1"),
        ("split_mode", "tensor"),
        ("tensor_split", "3,x"),
        ("tensor_split", "-1,2"),
        ("flash_attn", "yes"),
        ("kv_type", "q4_0"),
        ("mmap", "perhaps"),
        ("log_level", "INFO"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(name: str, value: str) -> None:
    """The error says which setting is wrong, what it is and where it came from."""
    variable = "RERANKD_" + name.upper()
    error = refusal(environment={variable: value})
    assert name == error.param
    for part in (name, variable, value.split(",", maxsplit=1)[0]):
        assert part in error.message


def test_a_wrong_flag_is_named_as_it_is_typed() -> None:
    """The source of a flag is the flag itself."""
    error = refusal(max_documents=0)
    assert error.param == "max_documents"
    assert "--max-documents" in error.message


@pytest.mark.parametrize(
    "line",
    ["port = true", 'mmap = "perhaps"', "host = 1", "api_keys = 'one'", "port = [1]", "port = {}"],
)
def test_a_wrong_type_in_the_file_is_named(config: Path, line: str) -> None:
    """The error names the setting and the file."""
    config.write_text(line)
    error = refusal(config)
    name = line.split(" ", 1)[0]
    assert name == error.param
    assert name in error.message
    assert str(config) in error.message


def test_an_unknown_key_in_the_file_is_refused(config: Path) -> None:
    """A misspelt key is named with its file instead of being ignored."""
    config.write_text("prot = 8100\n")
    error = refusal(config)
    assert error.param == "prot"
    assert "'prot'" in error.message
    assert str(config) in error.message


@pytest.mark.parametrize(
    "content", [b"port = ", b"port 8100", b"port = 1\nport = 2", b"\xff\xfe", b'host = "\xe9"']
)
def test_a_file_that_is_not_toml_is_named(config: Path, content: bytes) -> None:
    """Broken TOML and broken UTF-8 alike are an error that names the file."""
    config.write_bytes(content)
    assert str(config) in refusal(config).message


def test_a_file_that_cannot_be_read_is_named(config: Path) -> None:
    """A missing file or a directory is an error that says so."""
    assert f"cannot read {config}: No such file" in refusal(config).message
    assert str(config.parent) in refusal(environment={"RERANKD_CONFIG": str(config.parent)}).message


@pytest.mark.parametrize("line", [f"api_keys = '{KEY}'", f"api_keys = ['x', ['{KEY}']]"])
def test_a_wrong_secret_in_the_file_is_not_shown(config: Path, line: str) -> None:
    """An error about a secret setting never tells its value."""
    config.write_text(line)
    assert KEY not in refusal(config).message


def test_a_wrong_secret_in_a_flag_is_not_shown() -> None:
    """The same holds for values given directly."""
    assert KEY not in refusal(api_keys=[{KEY: 1}]).message


def test_secrets_are_masked_when_settings_are_shown() -> None:
    """Neither the settings nor the effective ones show a key in their repr."""
    found = loaded(environment={"RERANKD_API_KEYS": KEY})
    assert found.settings.api_keys == (KEY,)
    assert KEY not in repr(found)
    assert KEY not in repr(found.settings)


def test_every_setting_has_one_line_of_help() -> None:
    """The table has the struct's fields in their order, each explained in one line."""
    assert list(Settings.__struct_fields__) == [setting.name for setting in table()]
    for setting in table():
        assert len(setting.help.splitlines()) == 1, setting.name


def test_lists_of_settings_are_read_from_marks() -> None:
    """A mark in the annotation puts a setting on the list, beside other marks or alone."""
    marked = {setting.name: setting.marks for setting in table()}
    assert {"api_keys"} == SECRET
    assert {"accept_degraded", "context", "kv_type", "mmap", "weights"} < MODEL_SETTINGS
    assert not {"host", "model", "replica_gpus", "cache_bytes"} & MODEL_SETTINGS
    assert marked["context"] == Mark.PER_MODEL | Mark.CHANGES_SCORES
    assert marked["port"] == Mark(0)
    both = names_marked(Mark.SECRET | Mark.CHOOSES_MODEL)
    assert both == {"api_keys", "model", "model_id", "accept_license", "catalog_dir"}


def test_help_names_every_choice() -> None:
    """Where a setting takes one of a few words, its help lists them."""
    for setting in table():
        for choice in setting.choices:
            assert choice in setting.help, setting.name


def test_flags_and_variables_are_unique() -> None:
    """No two settings share a flag or a variable, nor take the variable of the file."""
    settings = table()
    flags = {setting.flag for setting in settings}
    variables = {setting.variable for setting in settings} | {"RERANKD_CONFIG"}
    assert len(settings) == len(flags) == len(variables) - 1


def test_the_table_describes_a_setting() -> None:
    """A row has what a command line needs: type, choices, default, names."""
    rows = {setting.name: setting for setting in table()}
    found = rows["split_mode"]
    assert (found.kind, found.default) == (str, "layer")
    assert found.choices == ("none", "layer", "row")
    assert found.help == "how several GPUs share the model: none, layer or row"
    assert (found.flag, found.variable) == ("--split-mode", "RERANKD_SPLIT_MODE")
    many = [name for name, row in rows.items() if row.many]
    assert many == ["tensor_split", "api_keys", "allowed_hosts", "cors_origins", "picture_hosts"]


def test_defaults_keep_their_own_rules() -> None:
    """Every default would be accepted if it were given."""
    given = msgspec.to_builtins(Settings())
    assert Settings() == load_settings(given, environment={}).settings


def test_a_number_of_gpu_layers_may_be_a_number_in_toml(tmp_path: Path) -> None:
    """gpu_layers = 12 means what gpu_layers = "12" means."""
    file = tmp_path / "rerankd.toml"
    file.write_text("gpu_layers = 12\n", "utf-8")

    assert load_settings(config=file, environment={}).settings.gpu_layers == "12"


def test_a_service_link_of_kubernetes_is_not_a_port() -> None:
    """RERANKD_PORT=tcp://… is what Kubernetes sets for a service named rerankd."""
    environment = {"RERANKD_PORT": "tcp://192.0.2.1:8100"}

    assert load_settings(environment=environment).settings.port == 8100


def test_a_user_without_a_home_has_a_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an empty root, which tells of no users; what is said still comes first."""
    monkeypatch.setattr(Path, "expanduser", no_home)

    assert state_folder(Settings(), {}) == Path("/var/lib/rerankd")
    assert state_folder(Settings(), {"XDG_STATE_HOME": "/state"}) == Path("/state/rerankd")
    assert state_folder(Settings(state_dir="/mine"), {}) == Path("/mine")


def no_home(path: Path) -> Path:
    if path.parts[0] == "~":
        raise RuntimeError("Could not determine home directory.")
    return path


@pytest.mark.parametrize(
    ("environment", "configures"),
    [
        ({"MALLOC_ARENA_MAX": "1"}, True),
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, True),
        ({"GLIBC_TUNABLES": "glibc.rtld.nns=4:glibc.malloc.arena_max=1"}, True),
        ({"GLIBC_TUNABLES": "glibc.rtld.nns=4"}, False),
        ({}, False),
    ],
)
def test_who_configures_the_allocator(environment: dict[str, str], *, configures: bool) -> None:
    assert configures_allocator(environment) == configures
