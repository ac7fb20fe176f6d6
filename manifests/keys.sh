#!/usr/bin/env bash
# API keys of the gateway: the Secret jobtuner-gateway-keys. It holds hashes; a key is shown once, when it is made.
# Running gateways see a change within about a minute (kubelet brings the file, the gateway looks every 5 s), with no restart.
#
#   manifests/keys.sh add jobs-site [--per-minute 600]
#   manifests/keys.sh list
#   manifests/keys.sh remove jobs-site
set -euo pipefail
case "${1:-}" in
  add | list | remove) ;;
  *) echo "usage: $0 add NAME [--per-minute N] | list | remove NAME" >&2; exit 2 ;;
esac
python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}
readonly namespace=jobtuner name=jobtuner-gateway-keys

folder=$(mktemp -d)  # for hashes alone
trap 'rm -rf "$folder"' EXIT
state=$(kubectl -n "$namespace" get secret "$name" --ignore-not-found \
  -o 'jsonpath={.metadata.resourceVersion}|{.metadata.ownerReferences[*].kind}|{.data.keys\.json}')
IFS='|' read -r version owner held <<<"$state"
if [[ $1 != list && $owner == *ExternalSecret* ]]; then
  echo "External Secrets writes $namespace/$name: change keys.json in the company's store (jobtuner keys --help)." >&2
  exit 1
fi
if [[ $1 != add && -z $held ]]; then
  echo "There is no Secret $namespace/$name with keys yet; \`$0 add NAME\` makes it." >&2
  exit 1
fi
[[ -z $held ]] || base64 -d <<<"$held" >"$folder/keys.json"

answer=$("$python" -m jobtuner.cli keys "$@" --file "$folder/keys.json" 2>"$folder/said") || {
  sed "s|$folder/keys.json|The Secret $namespace/$name|g" "$folder/said" >&2
  exit 1
}
if [[ $1 != list ]]; then
  body="\"data\":{\"keys.json\":\"$(base64 <"$folder/keys.json" | tr -d '\n')\"}"
  if [[ -z $version ]]; then
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"$name\",\"namespace\":\"$namespace\"},$body}" |
      kubectl create -f - >/dev/null
  else  # refused where somebody else has changed it meanwhile
    echo "{\"metadata\":{\"resourceVersion\":\"$version\"},$body}" >"$folder/patch.json"
    kubectl -n "$namespace" patch secret "$name" --type=merge --patch-file "$folder/patch.json" >/dev/null
  fi
fi
case $1 in
  add) echo "The key of $2, shown this once:" >&2 && echo "$answer" ;;  # after the cluster has its hash
  list) echo "$answer" ;;
  remove) echo "The key of $2 stops working within about a minute." ;;
esac
