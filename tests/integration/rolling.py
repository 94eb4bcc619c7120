#!/usr/bin/env python3
"""usage: rolling.py BIN: all six processes are restarted one after another while lines are put; nothing is lost, no put
fails."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, expect, run_all  # noqa: E402
from life import Load, expect_lines  # noqa: E402

BIN = sys.argv[1] if len(sys.argv) > 1 else "build/release/bin"


def every_process_is_restarted_under_load():
    with Cluster(BIN) as c:
        c.create("orders", 6)
        c.wait_in_sync("orders")
        load = Load(c, "orders")
        boots = {b["name"]: b["boot"] for b in c.json("weirctl", "broker", "list")["brokers"]}
        began = time.monotonic()
        said = c.local("rolling-restart")
        took = time.monotonic() - began
        expect(said.count("restarted") == 6, f"six processes are restarted: {said}")
        after = {b["name"]: b["boot"] for b in c.json("weirctl", "broker", "list")["brokers"]}
        expect(all(after[name] > boots[name] for name in boots), f"every broker has started again: {boots}, {after}")
        sent = load.stop()
        expect_lines(c, "orders", sent)
        return f"{took:.1f} s, {sent} lines"


if __name__ == "__main__":
    sys.exit(run_all([("every process is restarted under load", every_process_is_restarted_under_load)]))
