# neap_warnings: what every target of this tree is compiled with, and nobody who embeds neap.

option(NEAP_WERROR "Treat warnings as errors" OFF)

add_library(neap_warnings INTERFACE)
target_compile_options(neap_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wformat=2 -Wvla -Wswitch-enum -Wundef
  $<$<BOOL:${NEAP_WERROR}>:-Werror>)
