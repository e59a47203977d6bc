"""The Celery application of the test: ``app`` is that of a worker's process, by its environment."""

import os
import time

from celery import Celery

TASK = "interop.square"


def square(number: int) -> int:
    # Long enough that a worker can be killed among 200 of them.
    time.sleep(0.01)
    return number * number


def make_app(broker: str, queue: str) -> Celery:
    app = Celery("interop", broker=broker, backend="rpc://", set_as_current=False)
    app.conf.update(
        broker_heartbeat=10,
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue=queue,
        worker_prefetch_multiplier=4,
        worker_hijack_root_logger=False,
        result_persistent=True,
    )
    app.task(name=TASK)(square)
    return app


app = make_app(os.environ.get("INTEROP_BROKER", ""), os.environ.get("INTEROP_QUEUE", "interop"))
