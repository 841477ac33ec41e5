"""Renders the chart with Helm's own library and checks what comes out; `make check` runs it.

    python tests/chart/check.py

Needs helm-python-sdk, kubernetes-validate and PyYAML. No cluster is asked.
"""

import re
import sys
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "docker" / "chart"

# Kinds of operators, which have schemas of their own.
FOREIGN = {"ScaledObject", "ServiceMonitor"}
VERSIONS = ["1.27", "1.31", "1.36"]

EXTERNAL = {"database": {"existingSecret": "url"}, "storage": {"roots": ["s3://models/"]}}
EXAMPLES = {
    "external": {"Deployment": 2, "Service": 2, "Ingress": 1, "PodDisruptionBudget": 2, "ScaledObject": 1,
                 "ServiceMonitor": 1, "ServiceAccount": 1},
    "small": {"Deployment": 1, "Service": 1, "PersistentVolumeClaim": 1, "ServiceAccount": 1},
    "gpu": {"Deployment": 2, "Service": 2, "PodDisruptionBudget": 2, "ConfigMap": 1, "Job": 1, "ServiceAccount": 1},
}
# Values that must be refused, and a part of what is said.
REFUSED = [
    ({}, "work.enabled=false"),
    ({"work": {"enabled": False}}, "serve.replicas=1"),
    ({"work": {"enabled": False}, "serve": {"replicas": 1}}, "serve.persistence.enabled=true"),
    ({"database": {"existingSecret": "url"}}, "storage.roots"),
    (EXTERNAL | {"serve": {"persistence": {"enabled": True}}}, "one volume is for one serve"),
    (EXTERNAL | {"migrate": {"enabled": True}}, "migrate.existingSecret"),
    (EXTERNAL | {"ingress": {"enabled": True}}, "ingress.host"),
    (EXTERNAL | {"serve": {"replica": 3}}, "replica"),
    (EXTERNAL | {"storage": {"roots": ["/models/"]}}, "roots"),
    (EXTERNAL | {"settings": {"http.rate_limit": "1"}}, "http.rate_limit"),
]


def main() -> int:
    faults = lint()
    for name, kinds in EXAMPLES.items():
        faults += [f"{name}: {fault}" for fault in example(name, kinds)]
    for values, said in REFUSED:
        faults += refusal(values, said)

    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"chart: {len(EXAMPLES)} sets of values rendered, {len(REFUSED)} refused, {len(faults)} faults")
    return 1 if faults else 0


def lint() -> list[str]:
    found = helm.lint(CHART, EXTERNAL, strict=True)
    # An icon is recommended, which is no fault.
    return found["errors"] + [m["error"] for m in found["messages"] if m["severity"] > 1]


def render(values: dict) -> list[dict]:
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="retune", namespace="retune")
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def example(name: str, kinds: dict[str, int]) -> list[str]:
    values = yaml.safe_load((CHART / "examples" / f"{name}.yaml").read_text())
    objects = render(values)
    counted = {kind: sum(o["kind"] == kind for o in objects) for kind in {o["kind"] for o in objects}}
    faults = [] if counted == kinds else [f"{counted} and not {kinds}"]

    for found in objects:
        title = f"{found['kind']} {found['metadata']['name']}"
        if found["kind"] not in FOREIGN:
            faults += [f"{title}: {fault}" for fault in of_kubernetes(found)]
        if found["kind"] in ("Deployment", "Job"):
            faults += [f"{title}: {fault}" for fault in of_pods(found["spec"]["template"]["spec"])]
    return faults + selectors(objects)


def of_kubernetes(found: dict) -> list[str]:
    faults = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{version}: {error.message}")
    return faults


def of_pods(pod: dict) -> list[str]:
    """What a hardened namespace demands, and settings that the program knows."""
    faults = []
    if not (pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False):
        faults.append("the pod is not hardened")
    mounted = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod.get("initContainers", []) + pod["containers"]:
        context = container["securityContext"]
        if not context["readOnlyRootFilesystem"] or context["capabilities"]["drop"] != ["ALL"]:
            faults.append(f"{container['name']} is not hardened")
        missing = {mount["name"] for mount in container.get("volumeMounts", [])} - mounted
        faults += [f"no volume {name}" for name in missing]
        names = [variable["name"] for variable in container["env"]]
        faults += [f"{name} is there twice" for name in names if names.count(name) > 1]
        faults += [f"no setting {name}" for name in names if name.startswith("RETUNE_") and name not in settings()]
    return faults


def settings() -> set[str]:
    """The variables of every key of the default settings, and of the options of every command."""
    known, section = {"RETUNE_CONFIG"}, ""
    for line in (REPOSITORY / "config" / "default.toml").read_text().splitlines():
        if head := re.match(r"\[([a-z0-9_.]+)\]", line):
            section = head[1] + "."
        elif key := re.match(r"([a-z0-9_]+) = ", line):
            known.add("RETUNE_" + (section + key[1]).replace(".", "_").upper())
    return known


def selectors(objects: list[dict]) -> list[str]:
    """Services and budgets choose the pods of exactly one Deployment."""
    faults = []
    pods = [o["spec"]["template"]["metadata"]["labels"] for o in objects if o["kind"] == "Deployment"]
    for found in objects:
        chosen = found.get("spec", {}).get("selector") if found["kind"] in ("Service", "PodDisruptionBudget") else None
        if chosen is None:
            continue
        chosen = chosen.get("matchLabels", chosen)
        hits = sum(chosen.items() <= labels.items() for labels in pods)
        if hits != 1:
            faults.append(f"{found['kind']} {found['metadata']['name']} chooses {hits} deployments")
    return faults


def refusal(values: dict, said: str) -> list[str]:
    try:
        render(values)
    except helm.HelmError as error:
        return [] if said in str(error) else [f"{values} is refused by {error}, and not for {said}"]
    return [f"{values} is not refused"]


if __name__ == "__main__":
    sys.exit(main())
