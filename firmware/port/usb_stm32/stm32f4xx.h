#include "stm32_device.h"

#define USB_OTG_FS_MAX_IN_ENDPOINTS 4
#define USB_OTG_FS_TOTAL_FIFO_SIZE 1280
