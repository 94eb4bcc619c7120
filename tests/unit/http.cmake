# The HTTP front, and the server that tests/integration/http_front.py drives.
weir_program(http_test_server
    SOURCES ${CMAKE_SOURCE_DIR}/tests/support/http_test_server.c LINK broker_gateway_http)
set_target_properties(http_test_server PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
weir_unit_test(broker/gateway/http1 LINK broker_gateway_http)
weir_unit_test(broker/gateway/http_date LINK broker_gateway_http)
weir_unit_test(base/sources LINK base)
weir_unit_test(broker/gateway/http_server LINK broker_gateway_http
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/proto/net/certs.c)
