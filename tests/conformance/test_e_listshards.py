"""ListShards: paging, tokens, filters."""
import datetime
import time

import pytest

import kds

S = ["shardId-%012d" % i for i in range(8)]
UTC = datetime.timezone.utc


def ids(rows):
    return [s["ShardId"] for s in rows]


@pytest.fixture(scope="module")
def family(kin, streams):
    """Shard 0 split into 1 and 2; gives (name, a time before the split, a time after it)."""
    name = streams.take(1)
    time.sleep(1.2)
    before = time.time()
    time.sleep(1.2)
    kin.split_shard(StreamName=name, ShardToSplit=S[0], NewStartingHashKey=str(1 << 127))
    kds.wait_active(kin, name)
    time.sleep(2.2)  # children may start one second in the future
    after = time.time()
    time.sleep(0.1)
    yield name, before, after
    streams.drop(name)


def test_list_shards_equals_describe_stream(kin, shared4):
    r = kin.list_shards(StreamName=shared4)
    assert sorted(r["Shards"], key=lambda s: s["ShardId"]) == kds.shards(kin, shared4)
    assert "NextToken" not in r


def test_max_results_and_next_token(shared4):
    seen, args, pages = [], {"StreamName": shared4, "MaxResults": 1}, 0
    while True:
        r = kds.call("ListShards", **args)
        assert len(r["Shards"]) == 1
        seen += ids(r["Shards"])
        pages += 1
        if not r.get("NextToken"):
            break
        assert pages < 6
        args = {"NextToken": r["NextToken"], "MaxResults": 1}
    assert seen == S[:4]


def test_next_token_alone_continues(kin, shared4):
    r = kin.list_shards(StreamName=shared4, MaxResults=3)
    assert ids(r["Shards"]) == S[:3]
    rest = kin.list_shards(NextToken=r["NextToken"])
    assert ids(rest["Shards"]) == [S[3]] and "NextToken" not in rest


def test_paginator_list_shards(kin, shared4):
    """One page only: for a second one botocore's paginator sends StreamName with NextToken, which the API refuses."""
    pages = kin.get_paginator("list_shards").paginate(StreamName=shared4, PaginationConfig={"PageSize": 100})
    assert [s["ShardId"] for p in pages for s in p["Shards"]] == S[:4]


def test_stream_name_with_next_token_is_refused(once, shared4):
    token = once.list_shards(StreamName=shared4, MaxResults=1)["NextToken"]
    text = kds.fails("InvalidArgumentException", once.list_shards, StreamName=shared4, NextToken=token)
    assert text == "NextToken and StreamName cannot be provided together."


def test_neither_name_nor_token_is_refused(once):
    kds.fails(("InvalidArgumentException", "ValidationException"), once.list_shards)


def test_invalid_next_token(once):
    kds.fails(("InvalidArgumentException", "ExpiredNextTokenException"), once.list_shards, NextToken="bm9uc2Vuc2U=")


def test_exclusive_start_shard_id(kin, shared4):
    assert ids(kin.list_shards(StreamName=shared4, ExclusiveStartShardId=S[1])["Shards"]) == S[2:4]


def test_max_results_zero_is_refused(loose, shared1):
    text = kds.fails("ValidationException", loose.list_shards, StreamName=shared1, MaxResults=0)
    assert "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1" \
        in text


def test_no_filter_lists_closed_shards_too(kin, family):
    assert ids(kin.list_shards(StreamName=family[0])["Shards"]) == S[:3]


def listed(name, **shard_filter):
    return ids(kds.call("ListShards", StreamName=name, ShardFilter=shard_filter)["Shards"])


def test_filter_at_latest_lists_open_shards(family):
    assert listed(family[0], Type="AT_LATEST") == S[1:3]


def test_filter_at_trim_horizon_lists_the_oldest_generation(family):
    assert listed(family[0], Type="AT_TRIM_HORIZON") == S[:1]


def test_filter_from_trim_horizon_lists_all(family):
    assert listed(family[0], Type="FROM_TRIM_HORIZON") == S[:3]


def test_filter_at_timestamp_before_the_split(family):
    assert listed(family[0], Type="AT_TIMESTAMP", Timestamp=family[1]) == S[:1]


def test_filter_at_timestamp_after_the_split(family):
    assert listed(family[0], Type="AT_TIMESTAMP", Timestamp=family[2]) == S[1:3]


def test_filter_from_timestamp_before_the_split(family):
    assert listed(family[0], Type="FROM_TIMESTAMP", Timestamp=family[1]) == S[:3]


def test_filter_from_timestamp_after_the_split(family):
    assert listed(family[0], Type="FROM_TIMESTAMP", Timestamp=family[2]) == S[1:3]


def test_filter_after_shard_id(family):
    assert listed(family[0], Type="AFTER_SHARD_ID", ShardId=S[0]) == S[1:3]


def test_filter_after_shard_id_wants_a_shard_id(once, family):
    kds.fails(("InvalidArgumentException", "ValidationException"), once.list_shards, StreamName=family[0],
              ShardFilter={"Type": "AFTER_SHARD_ID"})


@pytest.mark.parametrize("kind", ["AT_TIMESTAMP", "FROM_TIMESTAMP"])
def test_filter_by_timestamp_wants_a_timestamp(once, family, kind):
    kds.fails(("InvalidArgumentException", "ValidationException"), once.list_shards, StreamName=family[0],
              ShardFilter={"Type": kind})


def test_filter_of_no_known_type(loose, family):
    text = kds.fails("ValidationException", loose.list_shards, StreamName=family[0], ShardFilter={"Type": "ALL"})
    assert "Value 'ALL' at 'shardFilter.type' failed to satisfy constraint: Member must satisfy enum value set: [" in text


def test_filter_survives_paging(family):
    r = kds.call("ListShards", StreamName=family[0], ShardFilter={"Type": "AT_LATEST"}, MaxResults=1)
    assert ids(r["Shards"]) == [S[1]]
    r2 = kds.call("ListShards", NextToken=r["NextToken"], MaxResults=5)
    assert ids(r2["Shards"]) == [S[2]] and not r2.get("NextToken")


def test_stream_creation_timestamp_selects_the_stream(kin, shared4):
    at = kds.summary(kin, shared4)["StreamCreationTimestamp"].timestamp()
    assert ids(kds.call("ListShards", StreamName=shared4, StreamCreationTimestamp=at)["Shards"]) == S[:4]
