"""Who may read or write which bucket: in MinIO as in the cloud, by the contract with Terraform."""

import json

from manifests.check import ROOT

_CONTRACT = json.loads((ROOT.parent / "terraform/modules/contract/contract.json").read_text(encoding="utf-8"))
_USERS = {"pipelines": "pipeline", "mlflow": "mlflow", "gateway": "gateway", "serving": "serving"}
ACCESS = {
    user: {_CONTRACT["buckets"][bucket]: right for bucket, right in _CONTRACT["access"][component].items()}
    for user, component in _USERS.items()
}
"""User of MinIO → bucket → "read" or "write"."""
