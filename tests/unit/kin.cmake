# Scaling by load, what is counted of shards, limits.
weir_unit_test(controller/scaling/scaling LINK controller_scaling)
weir_unit_test(broker/api/load LINK broker_api)
