// The end of the machine, as programs and people ask for it: kernel/power.c. reboot(2).
#ifndef POWER_H
#define POWER_H

// Ctrl-Alt-Delete was pressed: restart at once, or SIGINT to process 1 if it asked for that
// (LINUX_REBOOT_CMD_CAD_OFF). Thread context.
void ctrl_alt_delete(void);

#endif
