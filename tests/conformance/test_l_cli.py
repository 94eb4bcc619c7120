"""The aws command line as a subprocess. $KDS_AWS_CLI picks the program (default: aws from PATH, else /usr/bin/aws)."""
import base64
import json
import os
import shutil
import subprocess

import pytest

import kds

CLI = os.environ.get("KDS_AWS_CLI") or shutil.which("aws") or "/usr/bin/aws"
pytestmark = pytest.mark.skipif(not os.path.exists(CLI), reason="no aws command line")
S0 = "shardId-000000000000"


def run(*args, ok=True):
    env = dict(os.environ, AWS_PAGER="", AWS_RETRY_MODE="standard", AWS_MAX_ATTEMPTS="4")
    p = subprocess.run([CLI, "kinesis", *args, "--endpoint-url", kds.endpoint(), "--region", kds.REGION, "--output", "json"],
                       env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if ok:
        assert p.returncode == 0, p.stderr
        return json.loads(p.stdout) if p.stdout.strip() else {}
    assert p.returncode != 0, p.stdout
    return p.stderr


def test_cli_create_wait_describe_delete(kin, named):
    name = named()
    assert run("create-stream", "--stream-name", name, "--shard-count", "2") == {}
    kds.wait_active(kin, name)  # 'wait stream-exists' polls every 10 s; one immediate hit is enough
    run("wait", "stream-exists", "--stream-name", name)
    d = run("describe-stream-summary", "--stream-name", name)["StreamDescriptionSummary"]
    assert d["StreamStatus"] == "ACTIVE" and d["OpenShardCount"] == 2
    assert run("delete-stream", "--stream-name", name) == {}
    kds.wait_gone(kin, name)


def test_cli_put_and_get(stream, tmp_path):
    f = tmp_path / "data"
    f.write_bytes(b"\x00\xffcli\n")
    put = run("put-record", "--stream-name", stream, "--partition-key", "k", "--data", "fileb://%s" % f)
    it = run("get-shard-iterator", "--stream-name", stream, "--shard-id", put["ShardId"], "--shard-iterator-type",
             "TRIM_HORIZON")["ShardIterator"]
    got = run("get-records", "--shard-iterator", it, "--limit", "5")
    assert base64.b64decode(got["Records"][0]["Data"]) == b"\x00\xffcli\n"
    assert got["Records"][0]["SequenceNumber"] == put["SequenceNumber"]


def test_cli_put_records_from_a_file(stream, tmp_path, kin):
    f = tmp_path / "records.json"
    f.write_text(json.dumps([{"Data": base64.b64encode(b"r%d" % i).decode(), "PartitionKey": "k%d" % i}
                             for i in range(3)]))
    got = run("put-records", "--stream-name", stream, "--records", "file://%s" % f)
    assert got["FailedRecordCount"] == 0 and len(got["Records"]) == 3
    assert len(kds.read_shard(kin, stream, S0, 3)) == 3


def test_cli_list_shards(shared4):
    rows = run("list-shards", "--stream-name", shared4)["Shards"]
    assert [s["ShardId"] for s in rows] == ["shardId-%012d" % i for i in range(4)]


def test_cli_describe_stream_pages_by_itself(shared4):
    d = run("describe-stream", "--stream-name", shared4, "--page-size", "1")["StreamDescription"]
    assert len(d["Shards"]) == 4


def test_cli_list_streams_with_query(shared1):
    """--max-items makes the CLI page; the list is cut by it and names a token."""
    got = run("list-streams", "--page-size", "1", "--max-items", "2")
    assert len(got["StreamNames"]) == 2


def test_cli_tags(stream):
    run("add-tags-to-stream", "--stream-name", stream, "--tags", "env=test,team=a")
    got = run("list-tags-for-stream", "--stream-name", stream)["Tags"]
    assert {(t["Key"], t["Value"]) for t in got} == {("env", "test"), ("team", "a")}


def test_cli_split_and_merge(stream, kin):
    run("split-shard", "--stream-name", stream, "--shard-to-split", S0, "--new-starting-hash-key", str(1 << 127))
    assert kds.wait_active(kin, stream)["OpenShardCount"] == 2
    run("merge-shards", "--stream-name", stream, "--shard-to-merge", "shardId-000000000001",
        "--adjacent-shard-to-merge", "shardId-000000000002")
    assert kds.wait_active(kin, stream)["OpenShardCount"] == 1


def test_cli_update_shard_count(stream, kin):
    got = run("update-shard-count", "--stream-name", stream, "--target-shard-count", "2", "--scaling-type",
              "UNIFORM_SCALING")
    assert got["TargetShardCount"] == 2
    assert kds.wait_active(kin, stream)["OpenShardCount"] == 2


def test_cli_register_consumer(stream, kin):
    arn = kds.summary(kin, stream)["StreamARN"]
    got = run("register-stream-consumer", "--stream-arn", arn, "--consumer-name", "cli")["Consumer"]
    assert got["ConsumerName"] == "cli"
    kds.poll(lambda: run("describe-stream-consumer", "--consumer-arn", got["ConsumerARN"])["ConsumerDescription"],
             lambda d: d["ConsumerStatus"] == "ACTIVE")


def test_cli_error_exit_and_text():
    text = run("describe-stream", "--stream-name", kds.unique("none"), ok=False)
    assert "ResourceNotFoundException" in text and "DescribeStream" in text


@pytest.mark.auth
def test_cli_wrong_secret(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "InvalidSignatureException" in run("list-streams", ok=False)
