# Our own code links `warnings`; generated code does not.
add_library(warnings INTERFACE)
target_compile_options(warnings INTERFACE
    -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wundef -Wvla
    -Wwrite-strings -Wpointer-arith -Wformat=2 -Wimplicit-fallthrough
    -Wswitch-enum -Wdate-time
    # Clang would also find the casts inside the macros that protobuf-c generates.
    $<$<C_COMPILER_ID:GNU>:-Wcast-qual -Wlogical-op -Wduplicated-cond -Wduplicated-branches>
    $<$<C_COMPILER_ID:Clang>:-Wcomma -Wunreachable-code-aggressive>)

# Hardening, and what libuv's casts expect.
add_compile_options(-fno-strict-aliasing -fstack-protector-strong -fstack-clash-protection -fcf-protection)
add_compile_definitions(_GNU_SOURCE)
if(NOT SANITIZE AND CMAKE_BUILD_TYPE MATCHES "Rel")
    add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
add_link_options(-Wl,-z,relro,-z,now)

# CHECK stays on in every build; so does assert() in the libraries' headers.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
