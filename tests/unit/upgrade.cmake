weir_unit_test(client/cli/upgrade LINK client_upgrade)
