"""The command line as a whole: help that stays quick, errors as messages and statuses, and `orbitrack check`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams import cli
from streams.cli import COMMANDS, main
from streams.cli.links import CODECS as CLI_CODECS
from streams.config import CODECS
from streams.errors import DependencyError
from streams.offline import KINDS
from streams.outputs import FORMATS
from tests.conftest import REPOSITORY

HEAVY = ("pyarrow", "pydantic", "faust", "aiokafka", "aiohttp", "clickhouse_connect", "rich", "yaml", "framecodec")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom streams.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    for arguments in (["--help"], ["decode", "--help"], ["replay", "--help"], ["check", "--help"]):
        result = python(code, *arguments)
        assert result.stdout.startswith("Usage: "), result
        assert result.stderr == "[]\n", arguments


def test_every_command_exists_and_has_the_common_options() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, (name, result.output, result.exception)
        for option in ("--config", "--log-format"):
            assert option in result.output, name
    modules = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    assert set(COMMANDS) <= modules


def test_commands_of_the_contract_are_there() -> None:
    contract = "up collect worker store alert serve decode replay inspect simulate sql slo alerts migrate check"
    assert set(contract.split()) <= set(COMMANDS)


def test_names_that_are_written_twice_agree() -> None:
    """The command line repeats what would take long to import."""
    from streams.cli import decode

    assert CLI_CODECS == CODECS
    assert tuple(KINDS) == CODECS
    assert decode.FORMATS == FORMATS


def test_unknown_command_is_named_with_the_nearest() -> None:
    result = CliRunner().invoke(main, ["decod"])
    assert result.exit_code == 2
    assert "No such command 'decod'. Did you mean 'decode'?" in result.stderr


def test_version_is_shown() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("orbitrack ")


def test_error_is_a_json_line_on_request(tmp_path: Path) -> None:
    file = tmp_path / "absent"
    for arguments in (["--log-format", "json", "decode"], ["decode", "--log-format", "json"]):
        result = CliRunner().invoke(main, [*arguments, "--codec", "sflow", "--emit", "x", str(file)])
        assert result.exit_code == 2
        line = json.loads(result.stderr)
        assert (line["level"], line["exit_status"]) == ("error", 2)
        assert line["message"].startswith("--emit: no line type 'x'")


def test_dependency_that_is_away_gives_status_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise DependencyError("the database is away", hint="start it")

    monkeypatch.setattr("streams.config.examine_config", away)
    result = CliRunner().invoke(main, ["check"])
    assert (result.exit_code, result.stderr) == (3, "the database is away\n  hint: start it\n")


def check(*arguments: object, status: int) -> tuple[str, str]:
    result = CliRunner().invoke(main, ["check", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return result.stdout, result.stderr


def test_check_of_what_we_ship_is_clean(tmp_path: Path) -> None:
    # The one for containers is copied beside its definitions, as docs/deployment.md says.
    for name in ("xtce", "slo", "rules"):
        shutil.copytree(REPOSITORY / "schemas" / name, tmp_path / name)
    shutil.copy(REPOSITORY / "schemas" / "docker" / "orbitrack.toml", tmp_path)
    for config in (REPOSITORY / "schemas" / "demo" / "orbitrack.toml", tmp_path / "orbitrack.toml"):
        stdout, stderr = check("--config", config, status=0)
        assert stdout.startswith("configuration: ")
        assert not stderr
    files = [file for pattern in ("slo/*.yaml", "rules/*.yaml", "xtce/*.xml") for file in REPOSITORY.glob(f"schemas/{pattern}")]
    stdout, stderr = check(*files, status=0)
    assert "SLOs" in stdout and "rules" in stdout and "containers" in stdout
    assert not stderr


def test_check_names_every_mistake_and_goes_on(tmp_path: Path) -> None:
    config = tmp_path / "orbitrack.toml"
    config.write_text(
        '[slo]\nfiles = ["slo.yaml"]\n[alert]\nrules = ["rules.yaml"]\n'
        '[[link]]\nname = "jpss1"\ncodec = "ccsds-packets"\ndefinition = "jpss1.xml"\n'
    )
    (tmp_path / "slo.yaml").write_text("apiVersion: openslo/v1\nkind: SLOO\nmetadata: {name: x}\n")
    (tmp_path / "rules.yaml").write_text("rules:\n  - name: X\n    kind: treshold\n")
    (tmp_path / "jpss1.xml").write_text("<SpaceSystem>\n")
    stdout, stderr = check("--config", config, status=2)
    assert stdout == "configuration: 1 links, 0 webhooks, 0 objectives\n"
    starts = [line for line in stderr.splitlines() if not line.startswith("  ")]
    assert [line.split(":")[0] for line in starts] == [str(tmp_path / name) for name in ("jpss1.xml", "slo.yaml", "rules.yaml")]
    assert len(stderr.splitlines()) <= 9


def test_check_looks_into_files_that_a_broken_configuration_names(tmp_path: Path) -> None:
    config = tmp_path / "orbitrack.toml"
    config.write_text(
        '[slo]\nfiles = ["slo.yaml"]\n[alert]\nrules = ["rules.yaml"]\n[windows]\nlatenes = "30s"\n'
        '[[link]]\nname = "a"\ncodec = "sflowx"\n[[link]]\nname = "b"\ncodec = "ccsds-packets"\ndefinition = "b.xml"\n'
    )
    (tmp_path / "slo.yaml").write_text("apiVersion: openslo/v1\nkind: SLOO\nmetadata: {name: x}\n")
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: X, kind: treshold}\n  - {name: Y, kind: absence, metric: m}\n")
    (tmp_path / "b.xml").write_text("<SpaceSystem>\n")
    for arguments in (("--config", config), (config,)):
        _, stderr = check(*arguments, status=2)
        starts = [line.removeprefix(f"{tmp_path}/") for line in stderr.splitlines() if not line.startswith("  ")]
        assert [":".join(line.split(":")[:2]) for line in starts] == [
            "orbitrack.toml:6", "orbitrack.toml:9", "b.xml:2", "slo.yaml:2", "rules.yaml:2", "rules.yaml:3",
        ]


def test_secret_that_cannot_sign_is_a_mistake_and_is_not_shown(tmp_path: Path) -> None:
    config = tmp_path / "orbitrack.toml"
    config.write_text('[[webhook]]\nname = "ops"\nurl = "https://127.0.0.1/x"\nsecret = "whsec_!!hidden"\n')
    _, stderr = check("--config", config, status=2)
    assert "the secret of webhook 'ops' is not base64" in stderr
    assert "hidden" not in stderr


def test_check_says_what_a_worker_would_say_of_a_link(tmp_path: Path) -> None:
    config = tmp_path / "orbitrack.toml"
    shutil.copy(REPOSITORY / "schemas" / "xtce" / "demo.xml", tmp_path)
    link = '[[link]]\nname = "{}"\ncodec = "ccsds-packets"\ndefinition = "demo.xml"\nparameters = ["mode", "{}"]\n'
    config.write_text(link.format("a", "battery_temprature") + link.format("b", "/Demo/battery_temperature"))
    _, stderr = check("--config", config, status=2)
    assert stderr == (
        "link 'a': the definition has no parameter 'battery_temprature'\n  hint: did you mean battery_temperature?\n"
    )


def test_rule_for_an_slo_that_there_is_not_is_a_mistake(tmp_path: Path) -> None:
    config = tmp_path / "orbitrack.toml"
    config.write_text('[slo]\nfiles = ["slo.yaml"]\n[alert]\nrules = ["rules.yaml"]\n')
    shutil.copy(REPOSITORY / "schemas" / "slo" / "demo.yaml", tmp_path / "slo.yaml")
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  - {name: X, kind: burn_rate, slo: rack-interface-error-fre}\n"
        "  - {name: Y, kind: credit, slo: satellite-packet-delivery}\n  - {name: Z, kind: burn_rate, slo: 'rack*'}\n"
    )
    stdout, stderr = check("--config", config, status=2)
    remark = "'packet-delivery-fast-burn' tells all webhooks, for none of its targets operations is one"
    assert f"SLOs: 2 SLOs, 1 alert policies; {remark}\n" in stdout
    assert stderr == (
        f"{tmp_path / 'rules.yaml'}:2: no SLO is named 'rack-interface-error-fre'\n  at rules[0].slo\n"
        "  hint: did you mean 'rack-interface-error-free'?\n"
        f"{tmp_path / 'rules.yaml'}:3: no SLO with orbitrack/credit-tiers is named 'satellite-packet-delivery'\n"
        "  at rules[1].slo\n"
        "  hint: [slo] files define: rack-interface-error-free\n"
    )


def test_policy_that_tells_nothing_is_remarked(tmp_path: Path) -> None:
    text = (REPOSITORY / "schemas" / "slo" / "demo.yaml").read_text()
    (tmp_path / "slo.yaml").write_text(text.replace("alertWhenBreaching: true", "").replace("alertWhenResolved: true", ""))
    stdout, _ = check(tmp_path / "slo.yaml", status=0)
    assert "the AlertPolicy 'packet-delivery-fast-burn' tells nothing: no alertWhen... is true" in stdout


def test_rule_for_a_webhook_that_is_not_configured_is_a_mistake(tmp_path: Path) -> None:
    config = tmp_path / "orbitrack.toml"
    config.write_text('[alert]\nrules = ["rules.yaml"]\n[[webhook]]\nname = "operators"\nurl = "https://127.0.0.1/x"\n')
    (tmp_path / "rules.yaml").write_text(
        'rules:\n  - {name: X, kind: threshold, metric: m, op: ">", value: 1, webhooks: [operator]}\n'
    )
    _, stderr = check("--config", config, status=2)
    assert stderr == (
        f"{tmp_path / 'rules.yaml'}:2: no [[webhook]] is named 'operator'\n  at rules[0].webhooks[0]\n"
        "  hint: did you mean 'operators'?\n"
    )


def test_names_are_looked_up_in_what_is_right_of_a_wrong_configuration(tmp_path: Path) -> None:
    """A secret that is not set here hides nothing; where a webhook's own name is wrong, nobody knows what there is."""
    config = tmp_path / "orbitrack.toml"
    lines = '[alert]\nrules = ["rules.yaml"]\n[[webhook]]\n{}\nurl = "https://127.0.0.1/x"\n'
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: X, kind: absence, metric: m, after: 1m, webhooks: [opps]}\n")
    config.write_text(lines.format('name = "ops"\nsecret = "env:ORBITRACK_TEST_UNSET"'))
    _, stderr = check("--config", config, status=2)
    assert [line.split(": ")[1] for line in stderr.splitlines() if not line.startswith("  ")] == [
        "the environment variable ORBITRACK_TEST_UNSET is not set", "no [[webhook]] is named 'opps'",
    ]
    config.write_text(lines.format('name = "o p s"'))
    _, stderr = check("--config", config, status=2)
    assert "opps" not in stderr


def test_policies_that_make_one_rule_are_told_without_rule_files(tmp_path: Path) -> None:
    lines = (REPOSITORY / "schemas" / "slo" / "demo.yaml").read_text().splitlines()
    begin, end = lines.index("    - kind: AlertPolicy"), lines.index("---")
    policy = "\n".join(lines[begin:end])
    again = policy.replace("fast-burn", "fast-burn-no-data")
    first = policy.replace("alertWhenResolved: true", "alertWhenNoData: true")
    (tmp_path / "slo.yaml").write_text("\n".join([*lines[:begin], again, first, *lines[end:]]) + "\n")
    (tmp_path / "orbitrack.toml").write_text('[slo]\nfiles = ["slo.yaml"]\n')
    _, stderr = check("--config", tmp_path / "orbitrack.toml", status=2)
    slo = tmp_path / "slo.yaml"
    assert stderr.splitlines() == [
        f"{slo}:{begin + 1}: the AlertPolicy at {slo}:{end + 1} makes a rule 'packet-delivery-fast-burn-no-data', too",
        "  hint: give one of them another name; with alertWhenNoData a policy is a rule NAME-no-data, too",
    ]


def test_check_of_files_goes_by_what_they_are(tmp_path: Path) -> None:
    bad = REPOSITORY / "tests" / "definitions" / "bad"
    for name in ("config_unknown_key.toml", "rules_tab.yaml"):
        _, stderr = check(bad / name, status=2)
        assert stderr.startswith(f"{bad / name}:")
    assert check(tmp_path / "x.pcap", status=2)[1] == f"{tmp_path / 'x.pcap'}: neither .toml, .xml, .csv nor .yaml\n"
    assert check(tmp_path / "x.yaml", status=1)[1] == f"{tmp_path / 'x.yaml'}: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_configuration_is_named_anywhere_on_the_line(tmp_path: Path, place: int) -> None:
    config = tmp_path / "orbitrack.toml"
    config.write_text('[[webhook]]\nname = "ops"\nurl = "https://example.org/x"\n')
    arguments = ["alerts", "test", "opps"]
    arguments[place:place] = ["-c", str(config)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr == "no [[webhook]] is named 'opps'\n  hint: did you mean 'ops'?\n"


def test_check_says_when_there_is_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check(status=0)[0] == (
        "configuration: 0 links, 0 webhooks, 0 objectives; there is no orbitrack.toml here: "
        "-c FILE or $ORBITRACK_CONFIG names another\n"
    )


def test_mistakes_are_json_lines_on_request(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: X, kind: treshold}\n  - {name: Y, kind: absence, metric: m}\n")
    result = CliRunner().invoke(main, ["check", "--log-format", "json", str(tmp_path / "rules.yaml")])
    assert result.exit_code == 2
    found = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["exit_status"] for line in found] == [2, 2]
    assert "did you mean 'threshold'?" in found[0]["message"] and "'after' is missing" in found[1]["message"]


def test_check_of_a_folder_is_of_what_it_holds(tmp_path: Path) -> None:
    stdout, _ = check(REPOSITORY / "schemas" / "slo", REPOSITORY / "schemas" / "rules", status=0)
    assert "2 SLOs" in stdout and "rules/demo.yaml: 5 rules" in stdout
    assert "holds no .toml" in check(tmp_path, status=2)[1]


def test_dump_is_toml_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "s3cret")
    config = tmp_path / "orbitrack.toml"
    config.write_text('[[webhook]]\nname = "ops"\nurl = "https://127.0.0.1/x"\nsecret = "env:HOOK"\n')
    stdout, _ = check("--config", config, "--dump", status=0)
    assert 'secret = "<redacted>"' in stdout
    assert "s3cret" not in stdout
