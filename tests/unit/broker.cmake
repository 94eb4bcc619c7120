weir_unit_test(broker/shard/producer_table LINK broker_shard)
weir_unit_test(broker/route/route LINK broker_route)
weir_unit_test(broker/shard/shard LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(broker/api/api LINK broker_api
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/unit/broker/api/fake_net.c)
weir_unit_test(broker/api/put LINK broker_api
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/unit/broker/api/fake_net.c)
weir_unit_test(broker/server/retention LINK broker_shard broker_route proto_net
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/broker/server/retention.c)
