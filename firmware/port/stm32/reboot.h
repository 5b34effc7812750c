/* To be called first after a reset. */
#ifndef SP_STM32_REBOOT_H_INCLUDED
#define SP_STM32_REBOOT_H_INCLUDED

/* Go to the bootloader if that is what the firmware was ended for. */
void reboot_as_wished(void);

#endif
