weir_unit_test(broker/shard/producer_table LINK broker_shard)
weir_unit_test(broker/route/route LINK broker_route)
weir_unit_test(broker/shard/shard LINK broker_shard
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c)
weir_unit_test(broker/api/api LINK broker_api
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/unit/broker/api/fake_net.c)
