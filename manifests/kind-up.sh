#!/usr/bin/env bash
# A Kubernetes cluster in Docker with everything that the overlay "kind" needs, and the overlay itself. Needs docker, kind,
# kubectl, helm, 6 CPUs, 16 GiB of memory and the images (make images). Repeatable: what is there is kept.
#
#   manifests/kind-up.sh          make it, some ten minutes the first time
#   kind delete cluster --name jobtuner
set -euo pipefail
cd "$(dirname "$0")/.."
set -a
# shellcheck source=/dev/null
. ./versions.env
set +a

for program in docker kind kubectl helm; do
  command -v "$program" >/dev/null || { echo "$program is not installed; kind-up needs docker, kind, kubectl and helm." >&2; exit 1; }
done
docker image inspect "$JOBTUNER_CPU_IMAGE" >/dev/null 2>&1 || { echo "The image $JOBTUNER_CPU_IMAGE is not there: make images" >&2; exit 1; }

if ! kind get clusters | grep -qx jobtuner; then
  kind create cluster --name jobtuner --image "$KIND_NODE" --wait 5m
fi
kubectl config use-context kind-jobtuner
kind load docker-image --name jobtuner "$JOBTUNER_CPU_IMAGE"

chart() { helm upgrade --install --wait --timeout 10m --create-namespace "$@"; }
# Envoy Gateway first: its chart brings the Gateway API's kinds, which cert-manager looks for when it starts.
chart envoy-gateway oci://docker.io/envoyproxy/gateway-helm --namespace envoy-gateway-system --version "$ENVOY_GATEWAY_VERSION"
kubectl apply -f manifests/gateway-class.yaml
chart cert-manager oci://quay.io/jetstack/charts/cert-manager --namespace cert-manager --version "$CERT_MANAGER_VERSION" \
  --set crds.enabled=true --set config.apiVersion=controller.config.cert-manager.io/v1alpha1 \
  --set config.kind=ControllerConfiguration --set config.enableGatewayAPI=true
chart kserve-crd oci://ghcr.io/kserve/charts/kserve-crd --namespace kserve --version "$KSERVE_VERSION"
chart kserve oci://ghcr.io/kserve/charts/kserve-resources --namespace kserve --version "$KSERVE_VERSION" \
  --set kserve.controller.deploymentMode=Standard --set kserve.controller.gateway.disableIngressCreation=true

kubectl apply -f manifests/base/platform/namespaces.yaml
manifests/secrets.sh
kubectl apply --server-side -k manifests/overlays/kind
kubectl -n jobtuner wait --for=condition=complete job/jobtuner-object-store-setup --timeout=10m
kubectl -n jobtuner rollout status deployment/jobtuner-mlflow --timeout=10m
cat <<'TEXT'

The platform runs. The gateway waits for a model; give it one that `make run` has exported:
  manifests/upload.sh outputs/latest/export/model s3://jobtuner-models/gateway/current
then
  kubectl -n jobtuner rollout status deployment/jobtuner-gateway
  kubectl -n jobtuner port-forward svc/jobtuner-gateway 8080
TEXT
