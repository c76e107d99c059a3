# What `cmake --install` puts where. The manual and the completions are written by the binary
# itself, from the tables that it parses its command line with.

set(data ${CMAKE_INSTALL_DATADIR})

if(TARGET neap)
  install(TARGETS neap RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# neap_write(FILE word...): FILE, in the build folder, is what `neap word...` prints.
set(NEAP_WRITTEN "")
function(neap_write file)
  set(output ${PROJECT_BINARY_DIR}/share/${file})
  add_custom_command(OUTPUT ${output}
    COMMAND neap ${ARGN} > ${output}.new
    COMMAND ${CMAKE_COMMAND} -E rename ${output}.new ${output}
    DEPENDS neap
    VERBATIM)
  set(NEAP_WRITTEN ${NEAP_WRITTEN} ${output} PARENT_SCOPE)
endfunction()

# Instrumented builds are for tests, and a cross compiled binary does not run here.
if(TARGET neap AND NOT (NEAP_SANITIZE OR NEAP_COVERAGE OR NEAP_FUZZ OR CMAKE_CROSSCOMPILING))
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/share)
  neap_write(neap.1 help --man)
  neap_write(neap completion bash)
  neap_write(_neap completion zsh)
  neap_write(neap.fish completion fish)
  add_custom_target(share ALL DEPENDS ${NEAP_WRITTEN})
  set(share ${PROJECT_BINARY_DIR}/share)
  install(FILES ${share}/neap.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${share}/neap DESTINATION ${data}/bash-completion/completions)
  install(FILES ${share}/_neap DESTINATION ${data}/zsh/vendor-completions)
  install(FILES ${share}/neap.fish DESTINATION ${data}/fish/vendor_completions.d)
endif()

install(DIRECTORY lua/ DESTINATION ${data}/neap/lua FILES_MATCHING PATTERN "*.lua")
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
