// k/percpu.h of the shim: include/k has one, too, and comes before it here.
#include "../../../shim/k/percpu.h"
