# Lua that is part of the product, compiled into the binary.
#
#   neap_bundle_lua(TARGET default.lua ...)   files of lua/neap, listed by hand
#
# makes the library TARGET of one generated C file, which defines what src/script/bundle.h declares:
# for each file the name `require` knows ("neap.default"), the chunk name that tracebacks show
# ("@neap/default.lua"), and the bytes. This file is also the generator:
#
#   cmake -DROOT=DIR -DFILES=a.lua,b.lua -DOUTPUT=FILE -P BundleLua.cmake

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(NEAP_BUNDLE_LUA_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

  function(neap_bundle_lua target)
    set(root ${PROJECT_SOURCE_DIR}/lua/neap)
    set(output ${CMAKE_CURRENT_BINARY_DIR}/bundle.c)
    list(TRANSFORM ARGN PREPEND ${root}/ OUTPUT_VARIABLE inputs)
    list(JOIN ARGN "," files)
    add_custom_command(OUTPUT ${output}
      COMMAND ${CMAKE_COMMAND} -DROOT=${root} -DFILES=${files} -DOUTPUT=${output}
              -P ${NEAP_BUNDLE_LUA_SCRIPT}
      DEPENDS ${inputs} ${NEAP_BUNDLE_LUA_SCRIPT}
      COMMENT "Bundling ${files}"
      VERBATIM)
    add_library(${target} STATIC ${output})
    target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${target} PRIVATE neap_options neap_warnings)
  endfunction()

  return()
endif()

string(REPEAT "0x[0-9a-f][0-9a-f]," 16 sixteen)
string(REPLACE "," ";" FILES "${FILES}")
list(LENGTH FILES count)
set(arrays "")
set(rows "")
foreach(file IN LISTS FILES)
  string(REGEX REPLACE "\\.lua$" "" module ${file})
  string(REPLACE "/" "." module ${module})
  string(MAKE_C_IDENTIFIER ${file} symbol)
  file(READ ${ROOT}/${file} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "(${sixteen})" "\\1\n" bytes "${bytes}")
  file(SIZE ${ROOT}/${file} len)
  string(APPEND arrays "static const unsigned char ${symbol}[] = {\n${bytes}0};\n\n")
  string(APPEND rows
    "    {\"neap.${module}\", \"@neap/${file}\", (const char *)${symbol}, ${len}},\n")
endforeach()

file(WRITE ${OUTPUT} "/* Written by cmake/BundleLua.cmake from lua/neap. */
#include \"script/bundle.h\"

${arrays}const struct bundle_file bundle_files[] = {
${rows}};

const size_t bundle_file_count = ${count};
")
