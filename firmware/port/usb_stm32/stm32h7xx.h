#include "stm32_device.h"
