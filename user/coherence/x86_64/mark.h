/* mark(NUMBER): tells the plugin of tools/coherence something; without it, nothing happens. */
#ifndef COHERENCE_MARK_H
#define COHERENCE_MARK_H

#include "../../../tools/coherence.d/marks.h"

/* The bytes are spelled out because assemblers choose among encodings. */
#define mark(number)                                                                               \
    __asm__ volatile(".byte 0x0f, 0x1f, 0x80\n\t.long %c0"                                         \
                     :                                                                             \
                     : "i"(MARK_MAGIC + (number))                                                  \
                     : "memory")

#endif
