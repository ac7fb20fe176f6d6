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
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY MINIO_ENDPOINT=http://127.0.0.1:19000

kubectl -n jobtuner port-forward svc/jobtuner-s3 19000:9000 >/dev/null &
trap 'kill $!' EXIT
for _ in {1..50}; do (exec 3<>/dev/tcp/127.0.0.1/19000) 2>/dev/null && break; sleep 0.2; done
"$python" -c 'import sys, pathlib; from jobtuner.storage import upload; upload(pathlib.Path(sys.argv[1]), sys.argv[2])' "$1" "$2"
echo "$1 is now $2"
