// Host tests: <pthread.h> means the C library's sched.h, not the kernel's.
#include </usr/include/sched.h>
