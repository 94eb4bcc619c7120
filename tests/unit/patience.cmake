weir_unit_test(broker/kinesis/attempt LINK broker_kinesis)
weir_unit_test(client/admin/waits LINK weir_client
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/client/handle/scene.c
            ${CMAKE_SOURCE_DIR}/tests/unit/client/handle/fake_cluster.c
            ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
