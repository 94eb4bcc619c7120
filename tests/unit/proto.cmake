weir_unit_test(base/bytes LINK base)
weir_unit_test(base/crc32c LINK base)
weir_unit_test(base/hash_key LINK base)
weir_unit_test(base/status LINK base)
weir_unit_test(base/config LINK base)
weir_unit_test(proto/wire/batch LINK proto_wire)
weir_unit_test(proto/wire/frame LINK proto_wire)
weir_unit_test(proto/wire/seqnum LINK proto_wire)
weir_unit_test(proto/rpc/rpc LINK proto_rpc)

# On a real loop, over loopback, with certificates of the tests' own.
set(net_bench ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/bench.c
              ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
weir_unit_test(proto/net/session LINK proto_net SOURCES ${net_bench})
weir_unit_test(proto/net/refuse LINK proto_net SOURCES ${net_bench})
weir_unit_test(proto/net/link LINK proto_net SOURCES ${net_bench})
weir_unit_test(proto/net/loop LINK proto_net SOURCES ${net_bench})
weir_unit_test(proto/net/log_sink LINK proto_net)
weir_unit_test(proto/net/memory LINK proto_net SOURCES ${net_bench})
target_link_options(proto_net_memory_test PRIVATE
    -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
