# Everything comes from Debian packages: scripts/setup installs them. Nothing is downloaded here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.5)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4>=1.9)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)

# 0.15, in Debian 12's main suite, commits entries of an earlier term by counting replicas (the Raft
# paper's section 5.4.2 forbids it): acknowledged metadata could be lost. docs/decisions/0001.
pkg_check_modules(RAFT IMPORTED_TARGET raft>=0.22)
if(NOT RAFT_FOUND)
    message(FATAL_ERROR
        "libraft 0.22 or later is required; older releases are not a correct Raft.\n"
        "On Debian 12 it is in bookworm-backports: run scripts/setup, or\n"
        "apt-get install -t bookworm-backports libraft-dev")
endif()

set(WEIR_BUILD_TESTS OFF)
if(WEIR_TESTS STREQUAL "AUTO")
    pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka>=1.1.5)
    set(WEIR_BUILD_TESTS ${CMOCKA_FOUND})
elseif(WEIR_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka>=1.1.5)
    set(WEIR_BUILD_TESTS ON)
endif()
