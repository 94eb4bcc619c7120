#!/usr/bin/env python3
"""usage: rolling.py BIN: all six processes are restarted one after another under load of native clients and of boto3; no
request fails, nothing is lost or doubled. Prints how long it took and the longest time without an acknowledgement.

boto3 as in kinesis_api.py; without it the SDK's part is left out, and that is said."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, expect, run_all  # noqa: E402
from kinesis_api import with_boto3  # noqa: E402
from steady_load import Native, Sdk  # noqa: E402

BIN = sys.argv[1] if len(sys.argv) > 1 else "build/release/bin"
NO_SDK = None  # why boto3 is not there


def boots(cluster):
    return {b["name"]: b["boot"] for b in cluster.json("weirctl", "broker", "list")["brokers"]}


def every_process_is_restarted_under_load():
    with Cluster(BIN) as c:
        c.create("orders", 6)
        c.create("clicks", 6)
        c.wait_in_sync("orders")
        c.wait_in_sync("clicks")
        native = Native(c, "orders", "native")
        sdk = None if NO_SDK else Sdk(c, "clicks", modes=("legacy", "standard"))
        time.sleep(2)
        before = boots(c)
        began = time.monotonic()
        said = c.local("rolling-restart")
        took = time.monotonic() - began
        expect(said.count("restarted") == 6, f"six processes are restarted: {said}")
        after = boots(c)
        expect(all(after[name] > before[name] for name in before), f"every broker has started again: {before}, {after}")
        time.sleep(1)
        if sdk:
            sdk.stop()
        native.stop()
        c.no_reports()
        return (f"six processes in {took:.1f} s\n    native client: {native.sent} lines, 0 failed; longest gap between two acknowledgements "
                f"{native.gap:.2f} s, between two records read {native.read_gap:.2f} s\n    " +
                (sdk.figures() if sdk else f"SDK clients: left out: {NO_SDK}"))


if __name__ == "__main__":
    NO_SDK = with_boto3()
    sys.exit(run_all([("every process is restarted under load", every_process_is_restarted_under_load)]))
