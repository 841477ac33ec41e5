"""Registers a finished transfer's model in MLflow, with its lineage.

    RETUNE_URL=... MLFLOW_TRACKING_URI=... python mlflow_register.py TRANSFER_ID MODEL_NAME

The version's source is the result's folder; its tags say from which bases and which tuning it came, by
which method, and the digest of its manifest. The accuracies are metrics of a run of its own. A transfer that is
registered already gives the version that it has. Needs `pip install mlflow-skinny`.
"""

import sys

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from submit_and_wait import wait


def register(transfer, name, client=None):
    client = client or MlflowClient()
    if transfer["status"] != "succeeded" or transfer["verdict"] != "published":
        raise SystemExit(f"transfer {transfer['id']} has published no model")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{name}'")
    for version in known:
        if version.tags.get("retune.transfer") == transfer["id"]:
            return version
    spec, metrics = transfer["spec"], transfer["metrics"] or {}
    experiment = client.get_experiment_by_name("retune")
    experiment = experiment.experiment_id if experiment else client.create_experiment("retune")
    run = client.create_run(experiment, run_name=transfer["id"])
    for key in ("accuracy", "loss", "recovery", "source_accuracy", "target_accuracy_before"):
        if metrics.get(key) is not None:
            client.log_metric(run.info.run_id, key, metrics[key])
    client.set_terminated(run.info.run_id)
    tags = {
        "retune.transfer": transfer["id"],
        "retune.method": metrics.get("method", ""),
        "retune.source_base": spec["source"]["base"],
        "retune.trajectory": spec["source"]["trajectory"],
        "retune.target_base": spec["target"]["base"],
        "retune.manifest_sha256": transfer["result"]["manifest_sha256"],
        "retune.recommendation": transfer["recommendation"] or "",
    }
    return client.create_model_version(name, transfer["result"]["uri"], run.info.run_id, tags=tags)


if __name__ == "__main__":
    version = register(wait(sys.argv[1]), sys.argv[2])
    print(f"{version.name} version {version.version}: {version.source}")
