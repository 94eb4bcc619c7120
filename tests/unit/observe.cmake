# What processes show of themselves.
weir_unit_test(base/metrics LINK base)
weir_unit_test(proto/net/page_request LINK proto_net)
weir_unit_test(proto/net/pages LINK proto_net)
weir_unit_test(client/cli/prom LINK client_cli)
