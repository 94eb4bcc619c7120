weir_unit_test(controller/raft/core LINK controller_raft_core
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/controller/raft/raft_sim.c)
