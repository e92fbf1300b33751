# RUNG: cases=yes mem=4G timeout=600 suite=sid differ=7
# RUNG: prepare="kselftest_mm cow map_fixed_noreplace map_populate mremap_test mremap_dontunmap
# RUNG: madv_populate mlock2-tests mlock-random-test on-fault-limit mkdirty"
# The same tests as the newest linux-source has them, beside that Linux. Without /sys they find no huge
# pages, and leave out what they would do with them.
umount /sys
. /kselftest.sh
