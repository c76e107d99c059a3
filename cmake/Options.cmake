# neap_options: how this build is instrumented or hardened. Every target links it, so that a
# sanitizer sees all of the code.

set(NEAP_SANITIZE "" CACHE STRING
  "Sanitizers, comma-separated: address,undefined or thread")
set_property(CACHE NEAP_SANITIZE PROPERTY STRINGS "" "address,undefined" "thread")
option(NEAP_COVERAGE "Count executed lines (gcov)" OFF)
option(NEAP_FUZZ "Build tests/fuzz as libFuzzer programs (clang)" OFF)
option(NEAP_HARDEN "Harden the binary against memory errors" OFF)

add_library(neap_options INTERFACE)
target_compile_definitions(neap_options INTERFACE _GNU_SOURCE)
target_include_directories(neap_options INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(neap_options INTERFACE -fno-common)

if(NEAP_SANITIZE)
  target_compile_options(neap_options INTERFACE
    -fsanitize=${NEAP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(neap_options INTERFACE -fsanitize=${NEAP_SANITIZE})
endif()

if(NEAP_COVERAGE)
  # Counters are atomic: workers are threads, and lost counts look like lines that never ran.
  target_compile_options(neap_options INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(neap_options INTERFACE --coverage)
endif()

if(NEAP_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "NEAP_FUZZ needs clang, not ${CMAKE_C_COMPILER_ID}")
  endif()
  target_compile_options(neap_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(NEAP_HARDEN)
  include(CheckCCompilerFlag)
  check_c_compiler_flag(-fcf-protection NEAP_HAVE_CF_PROTECTION) # x86 only
  target_compile_options(neap_options INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fno-plt
    $<$<BOOL:${NEAP_HAVE_CF_PROTECTION}>:-fcf-protection>)
  target_link_options(neap_options INTERFACE -pie -Wl,-z,relro -Wl,-z,now)
endif()
