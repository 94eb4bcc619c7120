/* Written by sigv4_vectors.py: requests and the signatures that others gave them. */
#pragma once

/* clang-format off */
enum { VECTOR_HEADERS_MAX = 16 };

static const struct vector {
    const char *name, *method, *region, *service, *body_hash;
    const char *headers[VECTOR_HEADERS_MAX][2]; /* up to NULL */
} vectors[] = {
    {"boto3", "POST", "us-east-1", "kinesis",
     "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
     {
         {"host",
          "kinesis.local:4567"},
         {"content-type",
          "application/x-amz-json-1.1"},
         {"x-amz-target",
          "Kinesis_20131202.ListStreams"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          " SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=705152a948dd"
          "d6c491e0f535ddf646eaeea055f2f44d57ad92d384358290015d"},
         {"user-agent",
          "not signed"}}},
    {"boto3 with a session", "POST", "us-east-1", "kinesis",
     "9eba409c3e52eed03e0eb744b3961f83b7bbf6306ec8866d6380643056105246",
     {
         {"host",
          "kinesis.local:4567"},
         {"content-type",
          "application/x-amz-json-1.1"},
         {"x-amz-target",
          "Kinesis_20131202.ListStreams"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"x-amz-security-token",
          "FwoGZXIvYXdz/+="},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          " SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, S"
          "ignature=1523338098015289ea6f3d7ccad444ce3fbd6ddedbff4ccb9cca73e4cf72956f"},
         {"user-agent",
          "not signed"}}},
    {"boto3 in another region", "POST", "eu-west-3", "kinesis",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "kinesis.local:4567"},
         {"content-type",
          "application/x-amz-cbor-1.1"},
         {"x-amz-target",
          "Kinesis_20131202.ListStreams"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-3/kinesis/aws4_request,"
          " SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=458c4d44dd20"
          "b4bcfbd47194da11bff80e68d4be48edd8553b3540630c2fa7e2"},
         {"user-agent",
          "not signed"}}},
    {"runs of blanks", "POST", "us-east-1", "kinesis",
     "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880",
     {
         {"host",
          "kinesis.local:4567"},
         {"content-type",
          "application/x-amz-json-1.1"},
         {"x-amz-target",
          "Kinesis_20131202.ListStreams"},
         {"x-amz-meta-test",
          "a   b \t c"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          " SignedHeaders=content-type;host;x-amz-date;x-amz-meta-test;x-amz-target, Signat"
          "ure=babb1cbb71018215c75a9f23e6741c98f8a98823f06ea1d4404a2f54e5a6e69d"},
         {"user-agent",
          "not signed"}}},
    {"JavaScript over HTTP/2", "POST", "us-east-1", "kinesis",
     "7323ae808f32f1a67f80c52911966937e5b960c236a8de953aec7c984492feb0",
     {
         {":authority",
          "localhost:4567"},
         {"content-type",
          "application/x-amz-json-1.1"},
         {"x-amz-target",
          "Kinesis_20131202.ListStreams"},
         {"x-amz-user-agent",
          "aws-sdk-js/3.0"},
         {"amz-sdk-invocation-id",
          "6b3d"},
         {"amz-sdk-request",
          "attempt=1; max=3"},
         {"content-length",
          "12"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"x-amz-content-sha256",
          "7323ae808f32f1a67f80c52911966937e5b960c236a8de953aec7c984492feb0"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          " SignedHeaders=:authority;amz-sdk-invocation-id;amz-sdk-request;content-length;c"
          "ontent-type;x-amz-content-sha256;x-amz-date;x-amz-target;x-amz-user-agent, Signa"
          "ture=683967d6ca8d8d809a71fb3420c36bd029088d039e07d1a35c165d025ac228f8"}}},
    {"Java over HTTP/2", "POST", "us-east-1", "kinesis",
     "7323ae808f32f1a67f80c52911966937e5b960c236a8de953aec7c984492feb0",
     {
         {":authority",
          "localhost:4567"},
         {"content-type",
          "application/x-amz-json-1.1"},
         {"x-amz-target",
          "Kinesis_20131202.ListStreams"},
         {"x-amz-user-agent",
          "aws-sdk-js/3.0"},
         {"amz-sdk-invocation-id",
          "6b3d"},
         {"amz-sdk-request",
          "attempt=1; max=3"},
         {"content-length",
          "12"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"x-amz-content-sha256",
          "7323ae808f32f1a67f80c52911966937e5b960c236a8de953aec7c984492feb0"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          " SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type"
          ";host;x-amz-content-sha256;x-amz-date;x-amz-target;x-amz-user-agent, Signature=6"
          "8c627a027823a7902464f965ce08b1c8e154324db3a9aaab1aca32693c2b0f8"}}},
    {"a Date header", "POST", "us-east-1", "kinesis",
     "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
     {
         {"host",
          "h"},
         {"date",
          "Sun, 30 Aug 2015 12:36:00 GMT"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          " SignedHeaders=date;host, Signature=d2e1c856436e20703d6d67df3081fb484f8045316ea8"
          "75d860df886037be3087"}}},
    {"no blanks", "POST", "us-east-1", "kinesis",
     "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
     {
         {"host",
          "h"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kinesis/aws4_request,"
          "SignedHeaders=host;x-amz-date,Signature=34bdc16216d006706dd473f977b30e67e19f1d8e"
          "bb364c6e6b778aec3b3776d8"}}},
    {"suite get-vanilla", "GET", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff"
          "2a2260956d9b8aae1d763fbf31"}}},
    {"suite post-vanilla", "POST", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30"
          "862966e37dddb68e92efbe5d6b"}}},
    {"suite get-header-key-duplicate", "GET", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"my-header1",
          "value2"},
         {"my-header1",
          "value2"},
         {"my-header1",
          "value1"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;my-header1;x-amz-date, Signature=c9d5ea9f3f72853aea855b47ea8"
          "73832890dbdd183b4468f858259531a5138ea"}}},
    {"suite get-header-value-order", "GET", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"my-header1",
          "value4"},
         {"my-header1",
          "value1"},
         {"my-header1",
          "value3"},
         {"my-header1",
          "value2"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;my-header1;x-amz-date, Signature=08c7e5a9acfcfeb3ab6b2185e75"
          "ce8b1deb5e634ec47601a50643f830c755c01"}}},
    {"suite get-header-value-trim", "GET", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"my-header1",
          " value1"},
         {"my-header2",
          " \"a   b   c\""},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature=acc3ed3afb60bb29"
          "0fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"}}},
    {"suite post-header-key-sort", "POST", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"my-header1",
          "value1"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;my-header1;x-amz-date, Signature=c5410059b04c1ee005303aed430"
          "f6e6645f61f4dc9e1461ec8f8916fdf18852c"}}},
    {"suite post-header-value-case", "POST", "us-east-1", "service",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     {
         {"host",
          "example.amazonaws.com"},
         {"my-header1",
          "VALUE1"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=host;my-header1;x-amz-date, Signature=cdbc9802e29d2942e5e10b5bccf"
          "dd67c5f22c7c4e8ae67b53629efa58b974b7d"}}},
    {"suite post-x-www-form-urlencoded", "POST", "us-east-1", "service",
     "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
     {
         {"host",
          "example.amazonaws.com"},
         {"content-type",
          "application/x-www-form-urlencoded"},
         {"x-amz-date",
          "20150830T123600Z"},
         {"authorization",
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
          " SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d7"
          "22051e5ac45fc38421b1da7b9d196a0fe09473a"}}},
};
