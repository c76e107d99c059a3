# Finds libev, for which no pkg-config file exists on Debian.
#
#   Libev_FOUND  Libev_VERSION  target Libev::Libev

find_path(Libev_INCLUDE_DIR ev.h PATH_SUFFIXES libev)
find_library(Libev_LIBRARY ev)

if(Libev_INCLUDE_DIR)
  foreach(part MAJOR MINOR)
    file(STRINGS ${Libev_INCLUDE_DIR}/ev.h line REGEX "define +EV_VERSION_${part} +[0-9]+")
    string(REGEX REPLACE ".*EV_VERSION_${part} +([0-9]+).*" "\\1" Libev_${part} "${line}")
  endforeach()
  set(Libev_VERSION ${Libev_MAJOR}.${Libev_MINOR})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libev
  REQUIRED_VARS Libev_LIBRARY Libev_INCLUDE_DIR
  VERSION_VAR Libev_VERSION)
mark_as_advanced(Libev_INCLUDE_DIR Libev_LIBRARY)

if(Libev_FOUND AND NOT TARGET Libev::Libev)
  add_library(Libev::Libev UNKNOWN IMPORTED)
  set_target_properties(Libev::Libev PROPERTIES
    IMPORTED_LOCATION ${Libev_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${Libev_INCLUDE_DIR})
endif()
