"""The scripts beside the Terraform code: documents, costs, kustomize inputs, the scanner's judge."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from terraform import cluster_env, costs, scan
from terraform.docs import blocks
from tests.terraform.contract_rules import CONTRACT, ROOT, violations

TERRAFORM = ROOT / "terraform"
PRICES = json.loads((TERRAFORM / "prices.json").read_text())


def _values(cloud: str = "gcp") -> dict[str, str]:
    return {**{key: f"value-of-{key.lower()}" for key in CONTRACT["cluster_env"]}, "CLOUD": cloud}


def test_blocks_reads_multi_line_arguments() -> None:
    arguments = "  type = map(object({\n    name = string\n  }))\n  default     = {}\n"
    code = f'variable "pools" {{\n  description = "Pools | all."\n{arguments}}}\n'
    (block,) = blocks(code)
    assert (block.kind, block.name) == ("variable", "pools")
    assert block.arguments["type"] == "map(object({\n    name = string\n  }))"
    assert block.arguments["default"] == "{}"


def test_cluster_env_lines_come_in_the_contract_order() -> None:
    keys = [line.partition("=")[0] for line in cluster_env.env_file(_values()).splitlines()]
    assert keys == CONTRACT["cluster_env"]


def test_cluster_env_refuses_other_keys_and_line_breaks() -> None:
    values = _values()
    with pytest.raises(ValueError, match="REGION"):
        cluster_env.env_file({key: value for key, value in values.items() if key != "REGION"})
    with pytest.raises(ValueError, match="line break in REGION"):
        cluster_env.env_file({**values, "REGION": "a\nADMIN=yes"})


def test_component_annotates_every_account_with_its_identity_on_google_cloud() -> None:
    document = yaml.safe_load(cluster_env.component("gcp-dev", _values()))
    patches = [yaml.safe_load(item["patch"]) for item in document["patches"]]
    assert {patch["metadata"]["name"] for patch in patches} == {
        CONTRACT["service_accounts"][name]["name"] for name in CONTRACT["access"]
    }
    assert patches[0]["metadata"]["annotations"] == {"iam.gke.io/gcp-service-account": "value-of-identity_pipeline"}
    assert [what for patch in patches for what in violations(patch, CONTRACT)] == []
    assert document["images"][0] == {"name": "jobtuner/python-cpu", "newName": "value-of-image_registry/python-cpu"}


def test_component_on_aws_needs_no_annotations() -> None:
    assert "patches" not in yaml.safe_load(cluster_env.component("aws-dev", _values("aws")))


@pytest.fixture
def fake_terraform(tmp_path: Path) -> str:
    """A command that answers `output -json` from a file, as Terraform does, and fails for what is not there."""
    outputs = {"cluster_env": _values(), "credentials": {"pipeline": {"access_key": "AK", "secret_key": "SK"}}}
    (tmp_path / "outputs.json").write_text(json.dumps(outputs))
    command = tmp_path / "terraform"
    read = f"json.load(open({str(tmp_path / 'outputs.json')!r}))[sys.argv[-1]]"
    command.write_text(f"#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps({read}))\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return str(command)


def test_cluster_env_writes_the_component(fake_terraform: str, tmp_path: Path) -> None:
    assert cluster_env.main(["--env", "gcp-dev", "--terraform", fake_terraform, "--to", str(tmp_path)]) == 0
    assert sorted(path.name for path in (tmp_path / "gcp-dev").iterdir()) == ["cluster.env", "kustomization.yaml"]


def test_credentials_go_to_the_pipe_and_no_file(fake_terraform: str, tmp_path: Path, capsys: Any) -> None:
    arguments = ["--env", "gcp-dev", "--terraform", fake_terraform, "--to", str(tmp_path / "out"), "--credentials"]
    assert cluster_env.main([*arguments, "pipeline"]) == 0
    assert capsys.readouterr().out == "AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=SK\n"
    assert cluster_env.main([*arguments, "mlflow"]) == 1
    assert "there are: pipeline" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cluster_env_says_what_to_do_before_the_first_apply(tmp_path: Path, capsys: Any) -> None:
    assert cluster_env.main(["--env", "gcp-dev", "--terraform", "false", "--to", str(tmp_path)]) == 1
    assert "was the environment applied?" in capsys.readouterr().err


def test_monthly_cost_is_quantity_times_price_times_hours() -> None:
    prices = {"hours_per_month": 730, "per_hour": {"node": 0.5}, "per_month": {"GB": 0.1}}
    assert costs.monthly({"node": 2, "GB": 100}, prices) == pytest.approx(2 * 0.5 * 730 + 100 * 0.1)
    with pytest.raises(ValueError, match="0 prices for 'gpu'"):
        costs.monthly({"gpu": 1}, prices)


def test_idle_nodes_are_read_from_the_environment() -> None:
    assert {name: costs.idle_nodes(name) for name in PRICES["environments"]} == {
        "gcp-dev": 1,
        "gcp-prod": 3,
        "aws-dev": 1,
    }


def test_cost_table_of_the_readme_is_up_to_date() -> None:
    text = (TERRAFORM / "README.md").read_text()
    assert costs.with_table(text, costs.table(PRICES)) == text, "run: python terraform/costs.py --write"


def test_every_environment_has_a_cost() -> None:
    assert set(PRICES["environments"]) == {path.parent.name for path in TERRAFORM.glob("envs/*/main.tf")}


REPORT = {"results": {"failed_checks": [
    {"check_id": "CKV_1", "resource": "module.a.google_x.this", "file_path": "/a.tf", "check_name": "One"},
    {"check_id": "CKV_2", "resource": "google_y.this", "file_path": "/b.tf", "check_name": "Two"},
]}}  # fmt: skip


def test_scan_passes_over_what_is_argued_and_nothing_else() -> None:
    skips = [scan.Skip("CKV_1", "*google_x.this", "because"), scan.Skip("CKV_2", "*google_x.this", "never needed")]
    open_, stale = scan.judge(scan.findings([REPORT]), skips)
    assert [item.check for item in open_] == ["CKV_2"]
    assert [item.check for item in stale] == ["CKV_2"]


def test_scan_refuses_files_that_could_not_be_read() -> None:
    with pytest.raises(ValueError, match=r"main\.tf"):
        list(scan.findings({"results": {"parsing_errors": ["/main.tf"]}}))


def test_every_skip_has_a_reason(tmp_path: Path) -> None:
    assert all(len(skip.why) > 40 for skip in scan.load_skips(TERRAFORM / "skips.yaml"))
    (tmp_path / "skips.yaml").write_text("- {check: CKV_1, resource: '*', why: ''}\n")
    with pytest.raises(ValueError, match="none of them empty"):
        scan.load_skips(tmp_path / "skips.yaml")
