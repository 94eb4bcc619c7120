#!/usr/bin/env python3
"""Encryption at rest over three brokers: started under load, searched for on the disks, through a killed leader, a full
restart, a rotated and a disabled key, and stopped again. boto3 as in kinesis_api.py; without it the tests are skipped.

usage: encryption.py --bin DIR [--only NAME]"""
import argparse
import os
import sys
import threading
import time

from cluster import Cluster, expect, run_all
from kinesis_api import Api, fails, told, with_boto3

KEY = "alias/records"
STREAM = "veiled"


class State:
    """What the tests hand on: they run in order."""
    numbers = []    # of the records that were acknowledged
    encrypted = 0   # how many of them the answers called encrypted


def put(api, text, client=None):
    answer = (client or api.any()).put_record(StreamName=STREAM, Data=text.encode(), PartitionKey="k")
    State.numbers.append(answer["SequenceNumber"])
    State.encrypted += answer.get("EncryptionType") == "KMS"
    return answer


def holders(cluster, text):
    """The brokers whose data directories hold the text somewhere, in clear."""
    found, needle = set(), text.encode()
    for number in range(cluster.brokers):
        top = os.path.join(cluster.dir, f"broker-{number + 1}", "data")
        for folder, _, files in os.walk(top):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    if needle in file.read():
                        found.add(number + 1)
    return found


def all_read(api):
    records, _ = api.read(api.iterator(STREAM))
    got = [r["SequenceNumber"] for r in records]
    expect(len(set(got)) == len(got), "a record was read twice")
    missing = set(State.numbers) - set(got)
    expect(not missing, f"{len(missing)} of {len(State.numbers)} acknowledged records are not read")
    return records


def start_under_load(api):
    """Writers go on while encryption starts; what begins after that is nowhere in clear."""
    api.cluster.run("weirctl", "keyring", "create", "--alias", "records", "--description", "of a test")
    api.create(STREAM)
    put(api, "marker-before-all")
    stop, problems, lock = threading.Event(), [], threading.Lock()
    answers = []

    def write(client):
        while not stop.is_set():
            try:
                answer = client.put_record(StreamName=STREAM, Data=b"marker-under-way", PartitionKey="k")
                with lock:
                    answers.append(answer)
            except Exception as problem:  # pylint: disable=broad-except
                problems.append(problem)
                return
            time.sleep(0.01)
    writers = [threading.Thread(target=write, args=(client,)) for client in api.clients]
    for writer in writers:
        writer.start()
    time.sleep(0.5)
    api.any().start_stream_encryption(StreamName=STREAM, EncryptionType="KMS", KeyId=KEY)
    api.wait_active(STREAM)
    for client in api.clients:
        answer = put(api, "marker-after-start", client)
        expect(answer.get("EncryptionType") == "KMS", f"after the start: {answer}")
    time.sleep(0.5)
    stop.set()
    for writer in writers:
        writer.join()
    expect(not problems, f"a writer failed: {problems[:1]}")
    State.numbers += [a["SequenceNumber"] for a in answers]
    State.encrypted += sum(a.get("EncryptionType") == "KMS" for a in answers)
    expect(State.encrypted > 0, "no writer was told of encryption")
    many = [{"Data": b"marker-of-many", "PartitionKey": "k"} for _ in range(20)]
    answer = api.any().put_records(StreamName=STREAM, Records=many)
    expect(answer["FailedRecordCount"] == 0 and answer["EncryptionType"] == "KMS", f"{answer}")
    State.numbers += [r["SequenceNumber"] for r in answer["Records"]]
    expect(len(holders(api.cluster, "marker-before-all")) == 3, "what was written before is not in clear on three disks")
    for text in ("marker-after-start", "marker-of-many"):
        expect(not holders(api.cluster, text), f"{text} is in clear on a disk")
    return f"{len(State.numbers)} records"


def mixed_records_are_read(api):
    records = all_read(api)
    kinds = [r.get("EncryptionType", "NONE") for r in records]
    expect(kinds[0] == "NONE" and kinds[-1] == "KMS", f"{kinds[0]} ... {kinds[-1]}")
    first = kinds.index("KMS")
    expect(all(kind == "KMS" for kind in kinds[first:]), "a record in clear follows encrypted ones")
    summary = api.any().describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    expect(summary["EncryptionType"] == "KMS" and summary["KeyId"] == KEY, f"{summary}")
    lines = api.cluster.run("weir", "get", STREAM, "--from", "trim-horizon", "--count", str(len(records))).stdout.splitlines()
    expect("marker-after-start" in lines, "weir get does not show what is encrypted")


def a_killed_leader(api):
    leader = api.cluster.shards(STREAM)[0]["leader"]
    api.cluster.local("kill", leader)
    clients = [c for i, c in enumerate(api.clients) if f"broker-{i + 1}" != leader]
    for client in clients:
        expect(put(api, "marker-new-leader", client).get("EncryptionType") == "KMS", "not encrypted by the new leader")
    api.cluster.local("start", leader)
    api.cluster.wait_in_sync(STREAM)
    api.wait_serving()
    all_read(api)
    expect(not holders(api.cluster, "marker-new-leader"), "a new leader wrote in clear")


def a_full_restart(api):
    api.cluster.local("down")
    api.cluster.up()
    api.cluster.wait_in_sync(STREAM)
    api.wait_serving()
    all_read(api)
    put(api, "marker-restarted")
    expect(not holders(api.cluster, "marker-restarted"), "in clear after a restart")


def a_rotated_key(api):
    api.cluster.run("weirctl", "keyring", "rotate", KEY)
    expect(api.cluster.json("weirctl", "keyring", "describe", KEY)["version"] == 2, "rotation makes no new version")
    time.sleep(1)
    put(api, "marker-rotated")
    all_read(api)
    expect(not holders(api.cluster, "marker-rotated"), "in clear after a rotation")


def a_disabled_key(api):
    api.cluster.run("weirctl", "keyring", "disable", KEY)
    time.sleep(1)
    iterator = api.iterator(STREAM)
    for client in api.clients:
        fails("KMSDisabledException", client.put_record, StreamName=STREAM, Data=b"x", PartitionKey="k")
        fails("KMSDisabledException", client.get_records, ShardIterator=iterator)
    fails("KMSDisabledException", api.any().put_records, StreamName=STREAM, Records=[{"Data": b"x", "PartitionKey": "k"}])
    refused = api.cluster.run("weir", "get", STREAM, "--from", "trim-horizon", "--count", "1", "--timeout", "2s", check=False)
    expect(refused.returncode != 0, "a native reader reads under a disabled key")
    api.cluster.run("weirctl", "keyring", "enable", KEY)
    time.sleep(1)
    put(api, "marker-enabled")
    all_read(api)


def keys_that_cannot_be_used(api):
    cluster = api.cluster
    cluster.run("weirctl", "keyring", "create", "--alias", "doomed")
    cluster.run("weirctl", "stream", "create", "bare")

    def refused(code, key):
        fails(code, api.any().start_stream_encryption, StreamName="bare", EncryptionType="KMS", KeyId=key)
    refused("KMSNotFoundException", "alias/none")
    cluster.run("weirctl", "keyring", "delete", "alias/doomed", "--days", "7")
    refused("KMSInvalidStateException", "alias/doomed")
    cluster.run("weirctl", "keyring", "cancel-deletion", "alias/doomed")
    refused("KMSDisabledException", "alias/doomed")
    arn = cluster.run("weirctl", "keyring", "enable", "alias/doomed", "--json").stdout
    expect('"state": "enabled"' in arn, arn)
    cluster.run("weirctl", "stream", "encrypt", "bare", "--key", "alias/doomed")
    cluster.run("weirctl", "stream", "decrypt", "bare", "--key", "alias/doomed")
    kept = cluster.run("weirctl", "keyring", "delete", "alias/aws/kinesis", check=False)
    expect(kept.returncode != 0 and "own" in kept.stderr, f"the default key can be deleted: {kept.stderr}")


def stop_and_compare(api):
    """What was stored encrypted stays so, and is read; all replicas hold the same bytes."""
    api.any().stop_stream_encryption(StreamName=STREAM, EncryptionType="KMS", KeyId=KEY)
    api.wait_active(STREAM)
    expect("EncryptionType" not in put(api, "marker-in-the-open"), "still encrypted after the stop")
    kinds = {r.get("EncryptionType", "NONE") for r in all_read(api)}
    expect(kinds == {"NONE", "KMS"}, f"{kinds}")
    api.cluster.wait_in_sync(STREAM)
    for name in api.cluster.names():  # controllers first: nobody elects while the brokers end
        api.cluster.local("kill", name)
    rows = [api.cluster.inspect(f"broker-{n + 1}") for n in range(3)]
    shard = next(name for name, row in rows[0].items() if "encrypted" in row and row["records"] > 30)
    expect(len({r[shard]["sha256"] for r in rows}) == 1, "the replicas differ")
    facts = rows[0][shard]["encrypted"]
    expect(facts["first_key"] == 1 and facts["last_key"] == 2, f"data keys {facts}: rotation gave no new one")
    alarmed = [name for name in api.cluster.names() if "ALARM" in api.cluster.log(name)]
    expect(not alarmed, f"{alarmed} told of tampering")
    return f"{facts['batches']} encrypted batches"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    arguments = parser.parse_args()
    missing = with_boto3()
    if missing:
        print(f"skipped: {missing}")
        return 0
    tests = [("encryption starts under load", start_under_load), ("mixed records are read", mixed_records_are_read),
             ("a killed leader", a_killed_leader), ("a full restart", a_full_restart), ("a rotated key", a_rotated_key),
             ("a disabled key", a_disabled_key), ("keys that cannot be used", keys_that_cannot_be_used),
             ("stop, and compare replicas", stop_and_compare)]
    with Cluster(arguments.bin) as cluster:
        api = Api(cluster)
        failed = run_all([(name, lambda function=function: told(function, api)) for name, function in tests])
        cluster.no_reports()
        if failed:
            cluster.show_logs()
    return failed


if __name__ == "__main__":
    sys.exit(main())
