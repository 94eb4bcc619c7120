weir_unit_test(client/cli/upgrade LINK client_upgrade)
weir_unit_test(controller/command/version LINK controller_command)
weir_unit_test(proto/schema/before LINK proto_schema proto_rpc)
weir_unit_test(controller/rpc/gate LINK controller_rpc)
