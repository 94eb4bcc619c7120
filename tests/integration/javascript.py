#!/usr/bin/env python3
"""Packages of the Node.js community: aws-kinesis-agg and the consumer lifion-kinesis read what our producer wrote with
aggregation and compression, and our reader and our consumer read what aws-kinesis-agg and the AWS SDK for JavaScript v2 wrote.

The packages come from an npm registry into build/community-js; where there is none, the tests are skipped.

usage: javascript.py --bin DIR [--only NAME]"""
import argparse
import json
import os
import shutil
import subprocess
import sys

from cluster import TREE, Cluster, expect, run_all

FOLDER = os.environ.get("WEIR_TEST_JS_DIR") or os.path.join(TREE, "build", "community-js")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "js")
COUNT = 3000


def install():
    """Why the packages are not to be had, or None."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "no node or no npm"
    os.makedirs(FOLDER, exist_ok=True)
    for name in ("package.json", "community.cjs"):
        shutil.copy(os.path.join(SOURCE, name), FOLDER)
    wanted = [os.path.join(FOLDER, "node_modules", name) for name in ("aws-kinesis-agg", "aws-sdk", "dynalite", "lifion-kinesis")]
    if not all(os.path.isdir(path) for path in wanted):
        try:
            subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--loglevel=error"], cwd=FOLDER, check=True,
                           capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as problem:
            return f"npm install failed: {problem}"
    return None


def node(cluster, *arguments, timeout=60):
    env = dict(cluster.env, NODE_EXTRA_CA_CERTS=cluster.env["AWS_CA_BUNDLE"])
    return cluster.run("node", os.path.join(FOLDER, "community.cjs"), *arguments, env=env, timeout=timeout)


def rows(output):
    return [json.loads(line) for line in output.splitlines()]


def put_ours(cluster):
    cluster.create("ours", 2)
    cluster.run("weir", "put", "ours", "--key-field", "1", "--quiet", "--aggregate", "--gather", "3ms", "--compression", "zstd",
                stdin="".join(f"key-{i % 50} {i}\n" for i in range(COUNT)))
    stored = len(cluster.run("weir", "get", "ours", "--json").stdout.splitlines())
    expect(stored < COUNT / 10, f"{stored} records hold {COUNT} lines: they are not aggregated")


def check_ours(got):
    """Each line once, with its key, and those of a key in order."""
    newest = {}
    for row in got:
        key, number = row["data"].split(" ")
        expect(row["key"] == key, f"{row['data']} came with the key {row['key']}")
        expect(int(number) > newest.get(key, -1), f"{key}: {number} came after {newest.get(key)}")
        newest[key] = int(number)
    expect(len(got) == COUNT, f"{len(got)} of {COUNT} lines")


def agg_reads_ours(cluster):
    check_ours(rows(node(cluster, "read", "ours", str(COUNT)).stdout))


def community_consumer_reads_ours(cluster):
    check_ours(rows(node(cluster, "consume", "ours", str(COUNT)).stdout))


def ours_read_agg(cluster):
    cluster.create("theirs", 1)
    said = node(cluster, "write", "theirs", str(COUNT)).stderr.strip().splitlines()[-1]
    lines = [f"line {i}" for i in range(COUNT)]
    got = cluster.run("weir", "get", "theirs", "--deaggregate").stdout.splitlines()
    expect(got == lines, f"our reader: {len(got)} of {COUNT} lines, or out of order")
    got = rows(cluster.run("weir", "consume", "app", "theirs", "--json", "--count", str(COUNT)).stdout)
    expect([row["data"] for row in got] == lines, f"our consumer: {len(got)} of {COUNT} lines, or out of order")
    expect([row["partition_key"] for row in got[:40]] == [f"key-{i % 30}" for i in range(40)], "our consumer: other keys")
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    missing = install()
    if missing:
        print(f"skipped: {missing}")
        return 0
    with Cluster(options.bin) as cluster:
        put_ours(cluster)
        tests = (agg_reads_ours, community_consumer_reads_ours, ours_read_agg)
        return run_all([(t.__name__, lambda t=t: t(cluster)) for t in tests if options.only in t.__name__])


if __name__ == "__main__":
    sys.exit(main())
