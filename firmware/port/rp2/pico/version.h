/* pico-sdk's version: in its own build CMake writes this file. */
#ifndef _PICO_VERSION_H
#define _PICO_VERSION_H

#define PICO_SDK_VERSION_MAJOR 2
#define PICO_SDK_VERSION_MINOR 1
#define PICO_SDK_VERSION_REVISION 1
#define PICO_SDK_VERSION_STRING "2.1.1"

#endif
