set(raft_tests ${CMAKE_SOURCE_DIR}/tests/unit/controller/raft)
weir_unit_test(controller/raft/core LINK controller_raft_core
    SOURCES ${raft_tests}/raft_sim.c ${raft_tests}/raft_sim_change.c ${raft_tests}/raft_sim_disk.c)
weir_unit_test(controller/raft/core_change LINK controller_raft_core
    SOURCES ${raft_tests}/raft_sim.c ${raft_tests}/raft_sim_change.c ${raft_tests}/raft_sim_disk.c)
weir_unit_test(controller/raft/message LINK controller_raft_core)
weir_unit_test(controller/raft/store LINK controller_raft)
weir_unit_test(controller/raft/node LINK controller_raft PkgConfig::UV PkgConfig::OPENSSL
    SOURCES ${raft_tests}/node_cluster.c ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
weir_unit_test(controller/backup/backup LINK controller_backup controller_server)
weir_unit_test(proto/net/tls_reload LINK proto_net PkgConfig::OPENSSL
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
