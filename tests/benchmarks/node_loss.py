"""Number of requests that fail when a Ray node with a replica is lost under load, with and without a retry by the
client.

python tests/benchmarks/node_loss.py --workspace out/demo [--seconds 15]

Starts a cluster of two nodes on this machine, each with room for one replica. HAProxy runs on the head node; the other
node is killed.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from replica_loss import failed, wait_for_replicas

from jobs.services.process import LOOPBACK, free_port, running
from recsys.config import ServeSettings
from serving.ingress.ray_proxy import METRICS_VARIABLE, ray_environment

STORE_BYTES = 80 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nl-", dir="/tmp") as folder:
        switches = ray_environment(ServeSettings(), Path(folder))
        os.environ.update({name: value for name, value in switches.items() if name != METRICS_VARIABLE})
        # Imported here, because ray reads these variables on import.
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES})
        try:
            measure(cluster, options.workspace, options.seconds)
        finally:
            cluster.shutdown()
    return 0


def measure(cluster, workspace: Path, seconds: float) -> None:
    """Print the results of both loads."""
    port = free_port()
    command = [sys.executable, "-m", "serving", "--workspace", str(workspace), "--port", str(port)]
    environment = os.environ | {"RECSYS_SERVE__REPLICAS": "2", "RAY_ADDRESS": cluster.address}
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    with running(command, port, "/readyz", environment):
        for retries in (1, 0):
            wait_for_replicas((LOOPBACK, port))
            lost = failed((LOOPBACK, port), seconds, retries, partial(cluster.remove_node, node, False))
            print(f"two nodes, one killed, {retries} retries: {lost}", flush=True)
            if retries:
                node = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)


if __name__ == "__main__":
    sys.exit(main())
