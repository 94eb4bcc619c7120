weir_unit_test(controller/election/election LINK controller_election)
weir_unit_test(controller/election/resign LINK controller_election)
# The election's allocations fail on demand.
weir_unit_test(controller/election/memory LINK controller_election)
target_link_options(controller_election_memory_test PRIVATE -Wl,--wrap=realloc,--wrap=calloc)
