# Automatic balancing: of leaderships and replicas.
weir_unit_test(controller/balance/balance LINK controller_balance)
weir_unit_test(controller/balance/world LINK controller_balance)
weir_unit_test(controller/command/balance LINK controller_command
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/controller/command/rows.c)
