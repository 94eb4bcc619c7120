weir_unit_test(client/producer/batcher LINK client_producer_core)
weir_unit_test(client/producer/delivery LINK client_producer_core)
weir_unit_test(client/reader/decode LINK client_reader_core)
weir_unit_test(client/cluster/metadata LINK client_metadata)
weir_unit_test(client/cli/json LINK client_cli)
weir_unit_test(client/cli/args LINK client_cli)
weir_unit_test(client/cluster/bootstrap LINK client_metadata)

# The whole library, on its caller's loop, against a cluster made of the tests' own listeners.
set(fake_cluster ${CMAKE_SOURCE_DIR}/tests/unit/client/handle/scene.c
                 ${CMAKE_SOURCE_DIR}/tests/unit/client/handle/fake_cluster.c
                 ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
weir_unit_test(client/handle/client LINK weir_client SOURCES ${fake_cluster})
weir_unit_test(client/handle/reading LINK weir_client SOURCES ${fake_cluster})
