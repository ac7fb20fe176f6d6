"""Mistakes that a person makes in YAML, each in what an overlay renders to: the proof that the check sees them."""

from dataclasses import dataclass

__all__ = ["MUTATIONS", "Mutation"]


@dataclass(frozen=True)
class Mutation:
    """A piece of the rendered text and what it is mistyped as."""

    name: str
    before: str
    after: str
    overlay: str = "dev"
    features: tuple[str, ...] = ()


MUTATIONS = [
    # Names of fields
    Mutation("InferenceService: minReplica", "    minReplicas: 1\n    model:", "    minReplica: 1\n    model:"),
    Mutation("InferenceService: storageUri in place of storageUris", "    storageUris:\n", "    storageUri:\n"),
    Mutation("ServingRuntime: supportedModelFormat", "supportedModelFormats:", "supportedModelFormat:"),
    Mutation("probe: failureTreshold", "failureThreshold: 90", "failureTreshold: 90"),
    Mutation("pod: fsGroupChangePolicy misspelt", "fsGroupChangePolicy:", "fsGroupChangePolicies:"),
    Mutation("HTTPRoute: backendRef", "  - backendRefs:\n", "  - backendRef:\n"),
    Mutation("Gateway: listener", "\n  listeners:\n", "\n  listener:\n"),
    Mutation("ServiceMonitor: endpoint", "\n  endpoints:\n", "\n  endpoint:\n"),
    Mutation("PrometheusRule: expression", "      expr: avg", "      expression: avg"),
    Mutation("ScaledObject: minReplicas", "  minReplicaCount: 1\n", "  minReplicas: 1\n", "prod"),
    Mutation("ScaledObject: cooldown", "  cooldownPeriod: 1800", "  cooldown: 1800", "dev", ("scale-to-zero",)),
    Mutation("ExternalSecret: secretStore", "  secretStoreRef:\n", "  secretStore:\n", "prod"),
    Mutation(
        "LLMInferenceService: adapter", "      adapters:\n", "      adapter:\n", "dev", ("llm-inference-service",)
    ),
    Mutation("LocalModelCache: nodeGroup", "\n  nodeGroups:\n", "\n  nodeGroup:\n", "dev", ("local-model-cache",)),
    Mutation(
        "Secret volume: name in place of secretName", "secretName: jobtuner-gateway-keys", "name: jobtuner-gateway-keys"
    ),
    # Values
    Mutation("canary: weight as text", "      weight: 10\n", '      weight: "10%"\n', "dev", ("canary",)),
    Mutation("quota: unit", "requests.memory: 32Gi", "requests.memory: 32GB"),
    Mutation("path match: exact", "        type: Exact\n", "        type: exact\n"),
    Mutation("deployment strategy", "    type: Recreate\n", "    type: Recreat\n"),
    Mutation("probe: path and port joined", "          port: http\n", "          port: http:8080\n"),
    Mutation("port: above 65535", "containerPort: 9000", "containerPort: 90000"),
    Mutation("replicas: minimum above maximum", "  maxReplicas: 6\n", "  maxReplicas: 1\n"),
    # Security
    Mutation("runAsNonRoot: false", "runAsNonRoot: true", "runAsNonRoot: false"),
    Mutation("privilege escalation", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
    Mutation("capabilities kept", "            - ALL\n", "            - NET_RAW\n"),
    Mutation("no tag", ":17.6-bookworm", ""),
    Mutation(
        "token mounted",
        "automountServiceAccountToken: false\n      containers",
        "automountServiceAccountToken: true\n      containers",
    ),
    # References
    Mutation(
        "Service selects no pod",
        "    app.kubernetes.io/component: postgres\n---",
        "    app.kubernetes.io/component: postgre\n---",
    ),
    Mutation(
        "route to no Service",
        "    - name: jobtuner-llm\n      port: 8080\n",
        "    - name: jobtuner-lm\n      port: 8080\n",
    ),
    Mutation(
        "ConfigMap does not exist", "            name: jobtuner-settings\n", "            name: jobtuner-setting\n"
    ),
    Mutation(
        "service account does not exist", "serviceAccountName: jobtuner-gateway", "serviceAccountName: jobtuner-gatway"
    ),
    Mutation("scale target does not exist", "    name: jobtuner-llm-predictor\n", "    name: jobtuner-llm\n", "prod"),
    Mutation(
        "monitor matches no Service",
        "  selector:\n    matchLabels:\n      app.kubernetes.io/component: llm\n---",
        "  selector:\n    matchLabels:\n      app.kubernetes.io/component: lm\n---",
    ),
]
