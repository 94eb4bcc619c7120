# A broker's disk: broker/disk, broker/journal, broker/log.
set(storage_support ${CMAKE_SOURCE_DIR}/tests/support/store_fixture.c
    ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(broker/journal/block LINK broker_journal)
set(journal_home ${CMAKE_SOURCE_DIR}/tests/support/journal_home.c)
weir_unit_test(broker/journal/recover LINK broker_journal SOURCES ${journal_home})
weir_unit_test(broker/journal/journal LINK broker_journal
    SOURCES ${journal_home} ${CMAKE_SOURCE_DIR}/tests/support/fake_disk.c)
weir_unit_test(broker/log/store LINK broker_log SOURCES ${storage_support})
weir_unit_test(broker/log/identity LINK broker_log SOURCES ${storage_support})
weir_unit_test(broker/log/damage LINK broker_log SOURCES ${storage_support})
weir_unit_test(broker/log/crash LINK broker_log
    SOURCES ${storage_support} ${CMAKE_SOURCE_DIR}/tests/support/store_model.c)
