# Replicas and leaderships that move.
weir_unit_test(broker/replica/move LINK broker_replica
    SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/unit/broker/replica/fixture.c)
weir_unit_test(broker/log/install LINK broker_log
    SOURCES ${CMAKE_SOURCE_DIR}/tests/support/store_fixture.c
            ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(controller/moves/plan LINK controller_moves)
weir_unit_test(controller/command/moves LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/rows.c)
