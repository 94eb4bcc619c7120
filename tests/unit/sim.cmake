# The election's only allocations fail on demand.
weir_unit_test(controller/election/election LINK controller_election)
target_link_options(controller_election_election_test PRIVATE -Wl,--wrap=realloc,--wrap=calloc)
