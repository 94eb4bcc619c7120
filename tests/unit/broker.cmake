weir_unit_test(broker/shard/producer_table LINK broker_shard)
weir_unit_test(broker/route/route LINK broker_route)
weir_unit_test(broker/shard/shard LINK broker_shard
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c)
