"""A retuning step in Airflow: submit, wait, register. `submit_and_wait.py` lies beside the DAGs.

A task that is tried again, or cleared, goes on waiting for the transfer that it has submitted.
"""

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, params={"spec": {}})
def retune():
    @task(retries=3)
    def submit(params=None, run_id=None):
        from submit_and_wait import submit

        return submit(params["spec"], run_id)

    @task(retries=3)
    def wait(transfer):
        from submit_and_wait import wait

        found = wait(transfer)
        if found["status"] != "succeeded" or found["verdict"] != "published":
            # It is over: to wait again would tell the same.
            raise AirflowFailException(f"nothing was published: {found['error'] or found['recommendation']}")
        return found["result"]["uri"]

    wait(submit())


retune()
