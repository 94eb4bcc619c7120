#!/usr/bin/env python3
"""Access keys over a real cluster: made, listed, switched and deleted with weirctl; known to every broker within two
seconds, which takes signed requests of those that are enabled and of no others; kept through the loss of the active controller and a restart; and their secrets nowhere in clear.

usage: keys.py [--bin DIR]
"""
import argparse
import os
import re
import sys
import time

from cluster import Cluster, Failed, expect, run_all


def create(cluster, name):
    return cluster.json("weirctl", "key", "create", "--name", name)


def keys(cluster):
    return {row["access_key_id"]: row for row in cluster.json("weirctl", "key", "list")["keys"]}


def fetched(cluster, broker):
    """How many keys the broker last said that it had fetched, and of which version."""
    found = re.findall(r"signing: (\d+) access keys, version (\d+)", cluster.log(broker))
    return (int(found[-1][0]), int(found[-1][1])) if found else (None, 0)


def wait_at_brokers(cluster, count, seconds=2.0):
    end = time.monotonic() + seconds
    brokers = [name for name in cluster.names() if name.startswith("broker")]
    while time.monotonic() < end:
        if all(fetched(cluster, broker)[0] == count for broker in brokers):
            return
        time.sleep(0.02)
    raise Failed(f"after {seconds} s not every broker has {count} keys: {[fetched(cluster, b) for b in brokers]}")


def expect_calls(cluster, key, secret, allowed):
    """Whether a request that is signed with the key is answered, or refused because of the key, by every broker."""
    for endpoint in cluster.env["WEIR_KINESIS_ENDPOINTS"].split(","):
        said = cluster.run("curl", "-sS", "--max-time", "20", "--cacert", cluster.env["AWS_CA_BUNDLE"], "--aws-sigv4",
                           f"aws:amz:{cluster.env['AWS_REGION']}:kinesis", "--user", f"{key}:{secret}", "-H",
                           "X-Amz-Target: Kinesis_20131202.ListStreams", "-H", "Content-Type: application/x-amz-json-1.1",
                           "-d", "{}", "-w", " %{http_code}", endpoint + "/").stdout
        wanted = '"StreamNames":' in said and said.endswith(" 200") if allowed else \
            "UnrecognizedClientException" in said and said.endswith(" 400")
        expect(wanted, f"{endpoint}, {key}, which may {'' if allowed else 'not '}call: {said}")


def administrator_has_a_key(cluster):
    path = os.path.join(cluster.dir, "credentials")
    expect(os.stat(path).st_mode & 0o777 == 0o600, "the credentials can be read by others")
    expect(os.stat(os.path.join(cluster.dir, "cluster-key")).st_mode & 0o777 == 0o600, "the cluster key can be read by others")
    text = open(path, encoding="ascii").read()
    expect(f"aws_access_key_id = {cluster.env['AWS_ACCESS_KEY_ID']}\n" in text, "env and credentials differ")
    expect(f"aws_secret_access_key = {cluster.env['AWS_SECRET_ACCESS_KEY']}\n" in text, "env and credentials differ")
    expect(cluster.env["AWS_REGION"] == "us-east-1", "the default region is us-east-1")
    row = keys(cluster)[cluster.env["AWS_ACCESS_KEY_ID"]]
    expect(row["name"] == "admin" and row["enabled"], f"the administrator's key is {row}")
    wait_at_brokers(cluster, 1)
    expect_calls(cluster, row["access_key_id"], cluster.env["AWS_SECRET_ACCESS_KEY"], True)


def life_of_a_key(cluster, secrets):
    made = create(cluster, "joe@example.org")
    secrets.append(made["secret_access_key"])
    key = made["access_key_id"]
    expect(re.fullmatch(r"WEIR[A-Z2-7]{16}", key), f"{key} is no access key id")
    expect(re.fullmatch(r"[A-Za-z0-9+/]{40}", made["secret_access_key"]), "the secret has not 40 characters")
    wait_at_brokers(cluster, 2)
    expect_calls(cluster, key, made["secret_access_key"], True)
    rows = keys(cluster)
    expect(len(rows) == 2 and rows[key]["enabled"] and rows[key]["name"] == "joe@example.org", f"the list is {rows}")
    expect("secret_access_key" not in rows[key], "the list tells a secret")
    table = cluster.run("weirctl", "key", "list").stdout
    expect(key in table and made["secret_access_key"] not in table, f"the table is {table}")

    cluster.run("weirctl", "key", "disable", key)
    wait_at_brokers(cluster, 1)
    expect_calls(cluster, key, made["secret_access_key"], False)
    expect(not keys(cluster)[key]["enabled"], "a disabled key is listed as enabled")
    cluster.run("weirctl", "key", "enable", key)
    wait_at_brokers(cluster, 2)
    expect_calls(cluster, key, made["secret_access_key"], True)
    cluster.run("weirctl", "key", "delete", key)
    wait_at_brokers(cluster, 1)
    expect_calls(cluster, key, made["secret_access_key"], False)
    expect(key not in keys(cluster), "a deleted key is listed")


def refusals(cluster):
    for command, code, words in (
            (("key", "delete", "WEIRAAAAAAAAAAAAAAAA"), 3, "no access key"),
            (("key", "disable", "WEIRAAAAAAAAAAAAAAAA"), 3, "no access key"),
            (("key", "create"), 2, "--name"),
            (("key", "create", "--name", "a b"), 2, "1 to 64 characters"),
            (("key", "create", "--name", "x" * 65), 2, "at most"),
            (("key", "create", "--name", ""), 2, "1 to 64 characters")):
        result = cluster.run("weirctl", *command, check=False)
        expect(result.returncode == code, f"{' '.join(command)} exited {result.returncode}, not {code}: {result.stderr}")
        expect(words in result.stderr, f"{' '.join(command)}: {result.stderr}")
    user = dict(cluster.env, WEIR_CERT=cluster.env["WEIR_CERT"].replace("admin.crt", "user.crt"),
                WEIR_KEY=cluster.env["WEIR_KEY"].replace("admin.key", "user.key"))
    for command in (("key", "list"), ("key", "create", "--name", "eve")):
        result = cluster.run("weirctl", *command, check=False, env=user)
        expect(result.returncode == 6, f"a user's {' '.join(command)} exited {result.returncode}: {result.stderr}")


def failover(cluster, secrets):
    made = create(cluster, "before")
    secrets.append(made["secret_access_key"])
    active = cluster.active_controller()
    cluster.local("kill", active)
    rows = keys(cluster)
    expect(made["access_key_id"] in rows, "a key is gone with the active controller")
    after = create(cluster, "after")
    secrets.append(after["secret_access_key"])
    wait_at_brokers(cluster, 3, seconds=5)
    cluster.local("start", active)
    return f"{active} killed"


def restart(cluster):
    before = keys(cluster)
    credentials = cluster.env["AWS_ACCESS_KEY_ID"], cluster.env["AWS_SECRET_ACCESS_KEY"]
    cluster.local("down")
    cluster.up()
    expect((cluster.env["AWS_ACCESS_KEY_ID"], cluster.env["AWS_SECRET_ACCESS_KEY"]) == credentials, "other credentials")
    expect(keys(cluster) == before, f"before {before}, now {keys(cluster)}")
    wait_at_brokers(cluster, 3, seconds=5)
    expect_calls(cluster, *credentials, True)


def nothing_in_clear(cluster, secrets):
    with open(os.path.join(cluster.dir, "cluster-key"), encoding="ascii") as file:
        cluster_key = file.read().strip()
    needles = [secret.encode() for secret in secrets]
    needles += [cluster.env["AWS_SECRET_ACCESS_KEY"].encode(), cluster_key.encode(), bytes.fromhex(cluster_key)]
    known = {os.path.join(cluster.dir, name) for name in ("credentials", "cluster-key")}
    files = states = 0
    for folder, _, names in os.walk(cluster.dir):
        for name in names:
            path = os.path.join(folder, name)
            if path in known:
                continue
            with open(path, "rb") as file:
                data = file.read()
            files += 1
            states += name == "state.db"
            for needle in needles:
                expect(needle not in data, f"{path} has a secret in clear")
    expect(states == cluster.controllers, f"{states} files state.db were looked at")
    expect(any(b"admin" in open(os.path.join(cluster.dir, f"controller-{i + 1}", "data", "state.db"), "rb").read()
               or b"admin" in open(os.path.join(cluster.dir, f"controller-{i + 1}", "data", "state.db-wal"), "rb").read()
               for i in range(cluster.controllers)), "not even the names of keys were found: the search is wrong")
    return f"{files} files, {len(needles)} secrets"


def without_a_cluster_key(bin_dir):
    with Cluster(bin_dir, controllers=1, controller_settings=("cluster-key-file=",)) as cluster:
        expect(not os.path.exists(os.path.join(cluster.dir, "credentials")), "there are credentials")
        for command in (("key", "create", "--name", "joe"), ("key", "list"), ("key", "delete", "WEIRAAAAAAAAAAAAAAAA")):
            result = cluster.run("weirctl", *command, check=False)
            expect(result.returncode == 1 and "cluster-key-file" in result.stderr, f"{' '.join(command)}: {result.stderr}")
        cluster.create("orders", 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="build/release/bin")
    options = parser.parse_args()
    secrets = []
    with Cluster(options.bin, settings=("log-level=debug",), controller_settings=("log-level=debug",)) as cluster:
        code = run_all([
            ("the administrator of a new cluster has a key", lambda: administrator_has_a_key(cluster)),
            ("a key is made, disabled, enabled, deleted", lambda: life_of_a_key(cluster, secrets)),
            ("bad calls are refused with a sentence", lambda: refusals(cluster)),
            ("keys outlive the active controller", lambda: failover(cluster, secrets)),
            ("keys outlive a restart of everything", lambda: restart(cluster)),
            ("no secret is in clear in logs, state or Raft log", lambda: nothing_in_clear(cluster, secrets)),
            ("no process found a fault in itself", cluster.no_reports),
            ("without a cluster key it is said", lambda: without_a_cluster_key(options.bin)),
        ])
    return code


if __name__ == "__main__":
    sys.exit(main())
