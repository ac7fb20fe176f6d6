#!/usr/bin/env bash
# Copy a folder into the cluster's object store, through a port-forward, with the pipelines' credentials.
#
#   manifests/upload.sh outputs/latest/export/model s3://jobtuner-models/gateway/current
set -euo pipefail
(($# == 2)) || { echo "usage: $0 FOLDER s3://BUCKET/KEY" >&2; exit 2; }
python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}

key() { kubectl -n jobtuner-pipelines get secret jobtuner-credentials -o "jsonpath={.data.$1}" | base64 -d; }
AWS_ACCESS_KEY_ID=$(key AWS_ACCESS_KEY_ID)
AWS_SECRET_ACCESS_KEY=$(key AWS_SECRET_ACCESS_KEY)

# A free port here: kubectl says which ("Forwarding from 127.0.0.1:43211 -> 9000").
exec {output}< <(exec kubectl -n jobtuner port-forward svc/jobtuner-s3 :9000)
trap "kill $! 2>/dev/null || true" EXIT
read -r line <&"$output" || { echo "kubectl port-forward to svc/jobtuner-s3 failed; see its words above." >&2; exit 1; }
port=${line##*127.0.0.1:}
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY MINIO_ENDPOINT="http://127.0.0.1:${port%% *}"
"$python" -c 'import sys, pathlib; from jobtuner.storage import upload; upload(pathlib.Path(sys.argv[1]), sys.argv[2])' "$1" "$2"
echo "$1 is now $2"
