# -DSANITIZE=address,undefined or thread: everything, libraries of ours included, is built with it.
set(SANITIZE "" CACHE STRING "A -fsanitize= list")
if(SANITIZE)
    add_compile_options(-fsanitize=${SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${SANITIZE})
endif()
