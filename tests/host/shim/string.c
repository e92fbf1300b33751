// The kernel's string functions on the host: those the C library also has under the names k_*, so
// that both can be there; strlcpy and parse_u64 as they are.
#include "string_rename.h"
#include "../../../kernel/string.c"
