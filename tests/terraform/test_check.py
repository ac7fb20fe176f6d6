"""Terraform itself over everything; minutes, so not among the fast tests (make terraform-check does the same)."""

import os
import shutil
from pathlib import Path

import pytest

from terraform import check
from tests.terraform.contract_rules import ROOT

OFFLINE = Path(os.environ.get("TFOFFLINE", ROOT.parent / "shared" / "tools" / "terraform-offline" / "tfoffline"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed"),
    pytest.mark.skipif(not OFFLINE.exists(), reason=f"{OFFLINE} is not there; set TFOFFLINE"),
]


def test_everything_passes(tmp_path: Path) -> None:
    assert check.main(["--terraform", str(OFFLINE), "--offline", "--plans", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["aws-dev.json", "gcp-dev.json", "gcp-prod.json"]
