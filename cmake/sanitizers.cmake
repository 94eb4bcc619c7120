# -DSANITIZE=address,undefined or thread: everything, libraries of ours included, is built with it.
set(SANITIZE "" CACHE STRING "A -fsanitize= list")
if(SANITIZE)
    add_compile_options(-fsanitize=${SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${SANITIZE})
endif()
if(SANITIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # What the instrumentation hides from gcc's flow analysis it reports as a fault; the plain builds
    # keep these warnings.
    add_compile_options(-Wno-restrict -Wno-maybe-uninitialized -Wno-format-truncation -Wno-stringop-overflow)
endif()
