// The kernel's vsnprintf and snprintf on the host, as k_*.
#include "string_rename.h"
#include "../../../kernel/printf.c"
