weir_unit_test(client/consumer/core LINK client_consumer_core)
