"""The pods that Kubeflow Pipelines makes of the compiled pipeline's tasks, as plain manifests for scanners.

A scanner sees no pod in a compiled pipeline. Added here is what KFP 2.17 puts around a task (no capabilities, a seccomp
profile, the service account), and what the namespace's LimitRange adds at admission.
"""

from typing import Any

import yaml

__all__ = ["task_pods"]

_LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_EXECUTOR = "exec-"


def task_pods(pipeline: str, limits: dict[str, Any], image: str) -> list[dict[str, Any]]:
    """One pod a task.

    Args:
        pipeline: the compiled pipeline, both YAML documents.
        limits: the entry of type Container of the namespace's LimitRange.
        image: what JOBTUNER_IMAGE will be when the pipeline is compiled for the cluster.
    """
    spec, platform = yaml.safe_load_all(pipeline)
    executors = spec["deploymentSpec"]["executors"]
    extra = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return [
        _pod(name, executors[name]["container"] | {"image": image}, extra.get(name, {}), limits)
        for name in sorted(executors)
    ]


def _pod(name: str, container: dict[str, Any], extra: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    user = extra.get("securityContext", {})
    context = _LOCKED | {key: user[key] for key in ("runAsNonRoot",) if key in user}
    context |= {
        key: int(user[key]) for key in ("runAsUser", "runAsGroup") if key in user
    }  # the IR writes int64 as text
    task = {
        "name": "main",
        "image": container["image"],
        "command": container["command"],
        "env": [*container.get("env", []), *_environment(extra)],
        "resources": _resources(container.get("resources", {}), limits),
        "securityContext": context,
        "volumeMounts": [
            {"name": mount["volumeName"], "mountPath": mount["mountPath"]} for mount in extra.get("emptyDirMounts", [])
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"kfp-{name.removeprefix(_EXECUTOR)}",
            "namespace": "jobtuner-pipelines",
            "annotations": {"kubecheck/allow": "token"},  # see exceptions.yaml, CKV_K8S_38
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(extra["activeDeadlineSeconds"]),
            "serviceAccountName": "jobtuner-pipeline",
            "containers": [task],
            "volumes": [
                {"name": mount["volumeName"], "emptyDir": {key: mount[key] for key in ("medium", "sizeLimit")}}
                for mount in extra.get("emptyDirMounts", [])
            ],
            "tolerations": extra.get("tolerations", []),
            "nodeSelector": extra.get("nodeSelector", {}).get("labels", {}),
        },
    }


def _environment(extra: dict[str, Any]) -> list[dict[str, Any]]:
    sources = [("configMapAsEnv", "configMapKeyRef", "configMapName", "configMapKey")]
    sources += [("secretAsEnv", "secretKeyRef", "secretName", "secretKey")]
    return [
        {
            "name": pair["envVar"],
            "valueFrom": {reference: {"name": item[named], "key": pair[key], "optional": item.get("optional", False)}},
        }
        for field, reference, named, key in sources
        for item in extra.get(field, [])
        for pair in item["keyToEnv"]
    ]


def _resources(asked: dict[str, Any], limits: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the task asks for, and the LimitRange's defaults for the rest."""
    requests, most = dict(limits["defaultRequest"]), dict(limits["default"])
    for resource in ("Cpu", "Memory"):
        if value := asked.get(f"resource{resource}Request"):
            requests[resource.lower()] = value
        if value := asked.get(f"resource{resource}Limit"):
            most[resource.lower()] = value
    if accelerator := asked.get("accelerator"):
        most[accelerator["resourceType"]] = requests[accelerator["resourceType"]] = accelerator["resourceCount"]
    return {"requests": requests, "limits": most}
