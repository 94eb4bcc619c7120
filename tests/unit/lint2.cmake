# What several processes share.
weir_unit_test(proto/net/process_config LINK proto_net)
