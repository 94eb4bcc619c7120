weir_unit_test(controller/raft/core LINK controller_raft_core
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/controller/raft/raft_sim.c)
weir_unit_test(controller/raft/message LINK controller_raft_core)
weir_unit_test(controller/raft/store LINK controller_raft)
weir_unit_test(controller/raft/node LINK controller_raft PkgConfig::UV PkgConfig::OPENSSL
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
