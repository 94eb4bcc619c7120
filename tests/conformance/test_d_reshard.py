"""SplitShard, MergeShards, UpdateShardCount: the shards that result and how records are read across them."""
import time

import pytest

import kds

S = ["shardId-%012d" % i for i in range(12)]
HALF = 1 << 127


def split(c, name, shard, at=HALF):
    c.split_shard(StreamName=name, ShardToSplit=shard, NewStartingHashKey=str(at))
    kds.wait_active(c, name)


def merge(c, name, a, b):
    c.merge_shards(StreamName=name, ShardToMerge=a, AdjacentShardToMerge=b)
    kds.wait_active(c, name)


def by_id(c, name):
    return {s["ShardId"]: s for s in kds.shards(c, name)}


@pytest.fixture(scope="module")
def halved(kin, streams):
    """A stream with old records, split in two, then new records. Gives (name, old sequence numbers)."""
    name = streams.take(1)
    old = [kin.put_record(StreamName=name, Data=b"old%d" % i, PartitionKey="k%d" % i)["SequenceNumber"]
           for i in range(4)]
    split(kin, name, S[0])
    for i in range(8):
        kin.put_record(StreamName=name, Data=b"new%d" % i, PartitionKey="k%d" % i)
    yield name, old
    streams.drop(name)


@pytest.fixture(scope="module")
def joined(kin, streams):
    """A stream with old records in two shards, merged into one, then new records."""
    name = streams.take(2)
    for i in range(8):
        kin.put_record(StreamName=name, Data=b"old%d" % i, PartitionKey="k%d" % i)
    merge(kin, name, S[0], S[1])
    for i in range(3):
        kin.put_record(StreamName=name, Data=b"new%d" % i, PartitionKey="k%d" % i)
    yield name
    streams.drop(name)


# ---- split ----

def test_split_answers_empty_and_returns_to_active(kin, stream):
    r = kin.split_shard(StreamName=stream, ShardToSplit=S[0], NewStartingHashKey=str(HALF))
    assert set(r) == {"ResponseMetadata"}
    assert kds.summary(kin, stream)["StreamStatus"] in ("UPDATING", "ACTIVE")
    assert kds.wait_active(kin, stream)["OpenShardCount"] == 2


def test_split_children(kin, halved):
    rows = by_id(kin, halved[0])
    assert sorted(rows) == S[:3]
    assert kds.hash_range(rows[S[1]]) == (0, HALF - 1)
    assert kds.hash_range(rows[S[2]]) == (HALF, kds.HASH_MAX)
    for c in S[1:3]:
        assert rows[c]["ParentShardId"] == S[0] and "AdjacentParentShardId" not in rows[c]
        assert kds.is_open(rows[c])


def test_split_closes_the_parent(kin, halved):
    p = by_id(kin, halved[0])[S[0]]["SequenceNumberRange"]
    assert int(p["EndingSequenceNumber"]) > int(p["StartingSequenceNumber"])
    assert kds.hash_range(by_id(kin, halved[0])[S[0]]) == (0, kds.HASH_MAX)


def test_ending_sequence_number_is_not_below_the_last_record(kin, halved):
    end = int(by_id(kin, halved[0])[S[0]]["SequenceNumberRange"]["EndingSequenceNumber"])
    assert end >= int(halved[1][-1])


def test_children_start_after_the_parents_records(kin, halved):
    rows = by_id(kin, halved[0])
    for c in S[1:3]:
        assert int(rows[c]["SequenceNumberRange"]["StartingSequenceNumber"]) > int(halved[1][-1])


def test_after_a_split_records_go_to_the_children(kin, halved):
    rows = kds.shards(kin, halved[0])
    for i in range(10):
        k = "later%d" % i
        got = kin.put_record(StreamName=halved[0], Data=b"later", PartitionKey=k)["ShardId"]
        assert got == kds.shard_for(rows, kds.md5_hash(k)) and got != S[0]


def test_a_closed_parent_is_read_to_its_end(kin, halved):
    got, last = kds.drain(kin, kds.iterator(kin, halved[0], S[0]))
    assert [r["Data"] for r in got] == [b"old%d" % i for i in range(4)]
    assert last.get("NextShardIterator") is None


def test_end_of_a_split_shard_names_its_children(kin, halved):
    _, last = kds.drain(kin, kds.iterator(kin, halved[0], S[0]))
    rows = by_id(kin, halved[0])
    children = sorted(last["ChildShards"], key=lambda c: c["ShardId"])
    assert [c["ShardId"] for c in children] == S[1:3]
    for c in children:
        assert c["ParentShards"] == [S[0]]
        assert c["HashKeyRange"] == rows[c["ShardId"]]["HashKeyRange"]


def test_children_hold_only_the_new_records(kin, halved):
    rows = kds.shards(kin, halved[0])
    for c in S[1:3]:
        want = [b"new%d" % i for i in range(8) if kds.shard_for(rows, kds.md5_hash("k%d" % i)) == c]
        got = [r["Data"] for r in kds.read_shard(kin, halved[0], c, len(want))]
        assert got[:len(want)] == want


def test_latest_on_a_closed_shard_ends_at_once(kin, halved):
    got, last = kds.drain(kin, kds.iterator(kin, halved[0], S[0], "LATEST"))
    assert got == [] and last.get("NextShardIterator") is None


def test_after_the_last_record_of_a_closed_shard(kin, halved):
    it = kds.iterator(kin, halved[0], S[0], "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=halved[1][-1])
    got, last = kds.drain(kin, it)
    assert got == [] and last.get("NextShardIterator") is None


def test_an_iterator_taken_before_the_split_crosses_its_end(kin, stream):
    kin.put_record(StreamName=stream, Data=b"a", PartitionKey="k")
    it = kds.iterator(kin, stream, S[0], "LATEST")
    kin.put_record(StreamName=stream, Data=b"b", PartitionKey="k")
    split(kin, stream, S[0])
    got, last = kds.drain(kin, it)
    assert [r["Data"] for r in got] == [b"b"] and last.get("NextShardIterator") is None


def test_split_at_an_uneven_point(kin, stream):
    split(kin, stream, S[0], 1000)
    rows = by_id(kin, stream)
    assert kds.hash_range(rows[S[1]]) == (0, 999)
    assert kds.hash_range(rows[S[2]]) == (1000, kds.HASH_MAX)
    assert kin.put_record(StreamName=stream, Data=b"x", PartitionKey="k", ExplicitHashKey="999")["ShardId"] == S[1]
    assert kin.put_record(StreamName=stream, Data=b"x", PartitionKey="k", ExplicitHashKey="1000")["ShardId"] == S[2]


def test_split_a_child_again(kin, stream):
    split(kin, stream, S[0])
    split(kin, stream, S[2], HALF + HALF // 2)
    rows = by_id(kin, stream)
    assert sorted(rows) == S[:5]
    assert rows[S[3]]["ParentShardId"] == rows[S[4]]["ParentShardId"] == S[2]
    assert kds.covers_everything([s for s in rows.values() if kds.is_open(s)])


@pytest.mark.parametrize("at", ["0", str(kds.HASH_MAX), str(kds.HASH_MAX + 1)], ids=["start", "end", "outside"])
def test_split_point_outside_the_range(once, stream, account, at):
    text = kds.fails("InvalidArgumentException", once.split_shard, StreamName=stream, ShardToSplit=S[0],
                     NewStartingHashKey=at)
    assert text == ("NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both "
                    "greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey "
                    "340282366920938463463374607431768211455." % (at, S[0], stream, account))


def test_split_point_must_be_a_number(loose, shared1):
    text = kds.fails("ValidationException", loose.split_shard, StreamName=shared1, ShardToSplit=S[0],
                     NewStartingHashKey="middle")
    assert "Value 'middle' at 'newStartingHashKey' failed to satisfy constraint" in text


def test_split_an_unknown_shard(once, shared1, account):
    text = kds.fails("ResourceNotFoundException", once.split_shard, StreamName=shared1, ShardToSplit=S[9],
                     NewStartingHashKey=str(HALF))
    assert text == "Could not find shard %s in stream %s under account %s." % (S[9], shared1, account)


def test_split_a_closed_shard(once, halved, account):
    text = kds.fails("InvalidArgumentException", once.split_shard, StreamName=halved[0], ShardToSplit=S[0],
                     NewStartingHashKey=str(HALF))
    assert text == ("Shard %s in stream %s under account %s has already been merged or split, and thus is not eligible "
                    "for merging or splitting." % (S[0], halved[0], account))


def test_split_while_updating_is_resource_in_use(kin, once, stream):
    kin.split_shard(StreamName=stream, ShardToSplit=S[0], NewStartingHashKey=str(HALF))
    if kds.summary(once, stream)["StreamStatus"] != "UPDATING":
        pytest.skip("this server splits at once")
    try:
        once.split_shard(StreamName=stream, ShardToSplit=S[0], NewStartingHashKey="1000")
    except once.exceptions.ResourceInUseException as e:
        assert e.response["Error"]["Message"].endswith("not ACTIVE, instead in state UPDATING")
    except once.exceptions.InvalidArgumentException:  # it may have become ACTIVE since it was asked
        if kds.summary(once, stream)["StreamStatus"] != "ACTIVE":
            raise
        pytest.skip("the first split was over before the second was asked for")
    else:
        pytest.fail("a stream in UPDATING was split")
    kds.wait_active(kin, stream)


def test_writes_go_on_while_updating(kin, stream):
    kin.split_shard(StreamName=stream, ShardToSplit=S[0], NewStartingHashKey=str(HALF))
    seqs = []
    end = time.monotonic() + 30
    while time.monotonic() < end:
        seqs.append(kin.put_record(StreamName=stream, Data=b"%d" % len(seqs), PartitionKey="k")["SequenceNumber"])
        if kds.summary(kin, stream)["StreamStatus"] == "ACTIVE":
            break
    kds.wait_active(kin, stream)
    assert all(int(a) < int(b) for a, b in zip(seqs, seqs[1:]))
    got = []
    for s in kds.shards(kin, stream):
        got += kds.read_shard(kin, stream, s["ShardId"])
    assert sorted(int(r["Data"]) for r in got) == list(range(len(seqs)))


# ---- merge ----

def test_merge_child(kin, joined):
    rows = by_id(kin, joined)
    assert sorted(rows) == S[:3]
    m = rows[S[2]]
    assert {m["ParentShardId"], m["AdjacentParentShardId"]} == {S[0], S[1]}
    assert m["ParentShardId"] == S[0]
    assert kds.hash_range(m) == (0, kds.HASH_MAX)
    assert kds.is_open(m) and not kds.is_open(rows[S[0]]) and not kds.is_open(rows[S[1]])


def test_merged_parents_are_read_to_their_end(kin, joined):
    old = []
    for p in S[:2]:
        got, last = kds.drain(kin, kds.iterator(kin, joined, p))
        old += [r["Data"] for r in got]
        assert last.get("NextShardIterator") is None
    assert sorted(old) == [b"old%d" % i for i in range(8)]
    assert [r["Data"] for r in kds.read_shard(kin, joined, S[2], 3)] == [b"new%d" % i for i in range(3)]


def test_end_of_merged_shards_names_the_child(kin, joined):
    for p in S[:2]:
        _, last = kds.drain(kin, kds.iterator(kin, joined, p))
        assert [c["ShardId"] for c in last["ChildShards"]] == [S[2]]
        assert sorted(last["ChildShards"][0]["ParentShards"]) == S[:2]
        assert last["ChildShards"][0]["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(kds.HASH_MAX)}


def test_merge_wants_the_lower_shard_first(once, shared4, account):
    """AWS refuses an inverted pair (recorded from it)."""
    text = kds.fails("InvalidArgumentException", once.merge_shards, StreamName=shared4, ShardToMerge=S[1],
                     AdjacentShardToMerge=S[0])
    assert text == ("Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for "
                    "merging" % (S[1], S[0], shared4, account))


def test_merge_of_shards_that_do_not_touch(once, shared4, account):
    text = kds.fails("InvalidArgumentException", once.merge_shards, StreamName=shared4, ShardToMerge=S[0],
                     AdjacentShardToMerge=S[2])
    assert text == ("Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for "
                    "merging" % (S[0], S[2], shared4, account))


def test_merge_with_itself(once, shared4):
    kds.fails("InvalidArgumentException", once.merge_shards, StreamName=shared4, ShardToMerge=S[0],
              AdjacentShardToMerge=S[0])


def test_merge_with_an_unknown_shard(once, shared4, account):
    text = kds.fails("ResourceNotFoundException", once.merge_shards, StreamName=shared4, ShardToMerge=S[0],
                     AdjacentShardToMerge=S[9])
    assert text == "Could not find shard %s in stream %s under account %s." % (S[9], shared4, account)


def test_merge_of_closed_shards(once, joined):
    text = kds.fails("InvalidArgumentException", once.merge_shards, StreamName=joined, ShardToMerge=S[0],
                     AdjacentShardToMerge=S[1])
    assert text.endswith("has already been merged or split, and thus is not eligible for merging or splitting.")


# ---- UpdateShardCount ----

def test_update_shard_count_doubles(kin, stream2):
    r = kin.update_shard_count(StreamName=stream2, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    assert (r["StreamName"], r["CurrentShardCount"], r["TargetShardCount"]) == (stream2, 2, 4)
    assert kds.wait_active(kin, stream2)["OpenShardCount"] == 4
    rows = kds.shards(kin, stream2, open_only=True)
    assert kds.covers_everything(rows)
    sizes = [b - a + 1 for a, b in map(kds.hash_range, rows)]
    assert max(sizes) - min(sizes) <= 2


def test_update_shard_count_halves(kin, streams):
    name = streams.take(4, spare=0)
    try:
        kin.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
        assert kds.wait_active(kin, name)["OpenShardCount"] == 2
        rows = kds.shards(kin, name, open_only=True)
        assert kds.covers_everything(rows)
        assert all("ParentShardId" in s for s in rows)
    finally:
        streams.drop(name)


def test_update_shard_count_to_an_uneven_target(kin, stream2):
    kin.update_shard_count(StreamName=stream2, TargetShardCount=3, ScalingType="UNIFORM_SCALING")
    assert kds.wait_active(kin, stream2)["OpenShardCount"] == 3
    rows = kds.shards(kin, stream2, open_only=True)
    assert kds.covers_everything(rows)
    sizes = [b - a + 1 for a, b in map(kds.hash_range, rows)]
    assert max(sizes) <= 1.02 * min(sizes), "UNIFORM_SCALING wants equal ranges"


def test_update_shard_count_keeps_old_records_readable(kin, stream):
    for i in range(5):
        kin.put_record(StreamName=stream, Data=b"%d" % i, PartitionKey="k%d" % i)
    kin.update_shard_count(StreamName=stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    kds.wait_active(kin, stream)
    got, last = kds.drain(kin, kds.iterator(kin, stream, S[0]))
    assert [r["Data"] for r in got] == [b"%d" % i for i in range(5)]


def test_update_shard_count_beyond_double(once, stream2):
    kds.fails(("InvalidArgumentException", "LimitExceededException"), once.update_shard_count, StreamName=stream2,
              TargetShardCount=5, ScalingType="UNIFORM_SCALING")


def test_update_shard_count_below_half(once, shared4):
    kds.fails(("InvalidArgumentException", "LimitExceededException"), once.update_shard_count, StreamName=shared4,
              TargetShardCount=1, ScalingType="UNIFORM_SCALING")


def test_update_shard_count_scaling_type(loose, shared4):
    text = kds.fails("ValidationException", loose.update_shard_count, StreamName=shared4, TargetShardCount=2,
                     ScalingType="RANDOM")
    assert "Value 'RANDOM' at 'scalingType' failed to satisfy constraint" in text


def open_count(c):
    """Of the account, when all endpoints agree: streams of earlier tests may be going just now."""
    return kds.poll(lambda: [c.describe_limits()["OpenShardCount"] for _ in range(2 * len(kds.ENDPOINTS))],
                    lambda counts: len(set(counts)) == 1)[0]


def test_reshard_counts_in_describe_limits(kin, stream):
    before = open_count(kin)
    split(kin, stream, S[0])
    # other streams of this session may come in between, a closed parent must not count
    assert open_count(kin) >= before + 1
    assert kds.summary(kin, stream)["OpenShardCount"] == 2
