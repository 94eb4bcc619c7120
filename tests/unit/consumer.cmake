weir_unit_test(client/consumer/core LINK client_consumer_core)
weir_unit_test(client/consumer/core_end LINK client_consumer_core)
weir_unit_test(client/cli/multilang LINK client_multilang)
