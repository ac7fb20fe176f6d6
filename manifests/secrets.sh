#!/usr/bin/env bash
# Make the Secrets that the manifests name, with fresh random values. Nothing is written to a file, and what exists is kept.
#
#   manifests/secrets.sh            make those that are missing, in the current kubectl context
#   HF_TOKEN=… manifests/secrets.sh also give pipeline tasks a Hugging Face token
#
# It ends with the first API key of the gateway, named "first", shown this once (that part needs `make setup`);
# more keys: manifests/keys.sh.
#
# In place of this script: features/external-secrets.
set -euo pipefail

random() { LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 32 || true; }  # head closes the pipe: tr's SIGPIPE is meant

# make NAMESPACE NAME KEY=VALUE...: values go through a pipe, not through arguments that other users could list.
make() {
  local namespace=$1 name=$2 pair
  {
    printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","namespace":"%s","annotations":{%s}},"stringData":{' \
      "$name" "$namespace" "${annotations:-}"
    local separator=""
    for pair in "${@:3}"; do
      printf '%s"%s":"%s"' "$separator" "${pair%%=*}" "${pair#*=}"
      separator=,
    done
    printf '}}\n'
  } | kubectl create -f - >/dev/null
  echo "made $namespace/$name"
}

# The names that must all be there or all be missing: they share values.
readonly all=(jobtuner/jobtuner-minio jobtuner/jobtuner-s3-users jobtuner/jobtuner-postgres jobtuner/jobtuner-mlflow
  jobtuner-pipelines/jobtuner-credentials jobtuner-serving/jobtuner-credentials)
there() { kubectl -n "${1%/*}" get secret "${1#*/}" --ignore-not-found -o name | grep -q .; }
gateway_keys() { there jobtuner/jobtuner-gateway-keys || "$(dirname "$0")/keys.sh" add first; }  # shares no value with others

# vLLM's key once more, for the gateway, whose namespace is another (features/pipeline-deploy).
gateway_llm_key() {
  there jobtuner/jobtuner-llm || make jobtuner jobtuner-llm \
    "VLLM_API_KEY=$(kubectl -n jobtuner-serving get secret jobtuner-credentials -o 'jsonpath={.data.VLLM_API_KEY}' | base64 -d)"
}

missing=()
for secret in "${all[@]}"; do
  there "$secret" || missing+=("$secret")
done
if ((${#missing[@]} == 0)); then
  gateway_llm_key
  gateway_keys
  echo "The other Secrets exist; nothing was changed."
  exit 0
elif ((${#missing[@]} < ${#all[@]})); then
  echo "Some Secrets exist and some do not: ${missing[*]} are missing. They share values, so make the missing ones by hand, or" \
    "delete all (${all[*]}) and start again; MinIO's users and MLflow's admin keep their old passwords until they are changed there." >&2
  exit 1
fi

admin=$(random) llm_key=$(random)
pipelines_id=pipelines pipelines_key=$(random) serving_id=serving serving_key=$(random)
make jobtuner jobtuner-minio root-user=root-jobtuner "root-password=$(random)"
make jobtuner jobtuner-s3-users "pipelines-id=$pipelines_id" "pipelines-key=$pipelines_key" "serving-id=$serving_id" \
  "serving-key=$serving_key" mlflow-id=mlflow "mlflow-key=$(random)" gateway-id=gateway "gateway-key=$(random)"
make jobtuner jobtuner-postgres "password=$(random)"
make jobtuner jobtuner-mlflow "admin-password=$admin" "flask-secret-key=$(random)"
make jobtuner-pipelines jobtuner-credentials "AWS_ACCESS_KEY_ID=$pipelines_id" "AWS_SECRET_ACCESS_KEY=$pipelines_key" \
  MLFLOW_TRACKING_USERNAME=admin "MLFLOW_TRACKING_PASSWORD=$admin" \
  "JOBTUNER_ENDPOINT_KEY=$llm_key" ${HF_TOKEN:+"HF_TOKEN=$HF_TOKEN"}
# KServe's storage initializer takes the address from the Secret's annotations.
annotations='"serving.kserve.io/s3-endpoint":"jobtuner-s3.jobtuner.svc.cluster.local:9000","serving.kserve.io/s3-usehttps":"0","serving.kserve.io/s3-region":"us-east-1","serving.kserve.io/s3-usevirtualbucket":"0"' \
  make jobtuner-serving jobtuner-credentials "AWS_ACCESS_KEY_ID=$serving_id" "AWS_SECRET_ACCESS_KEY=$serving_key" "VLLM_API_KEY=$llm_key"
gateway_llm_key
gateway_keys
