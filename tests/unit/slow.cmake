# Bad days of docs/replication.md 2.9: slow brokers, wrong clocks, tips of deposed leaders.
weir_unit_test(broker/health/slow LINK broker_health)
weir_unit_test(broker/health/clock LINK broker_health)
weir_unit_test(controller/fitness/fitness LINK controller_fitness)
weir_unit_test(broker/tip/tip LINK broker_tip)
weir_unit_test(broker/api/tip LINK broker_api
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/unit/broker/api/fake_net.c)
weir_unit_test(broker/shard/alone LINK broker_shard broker_disk
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/broker/shard/world.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
