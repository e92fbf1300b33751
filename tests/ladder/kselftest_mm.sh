# RUNG: cases=yes mem=4G timeout=600
# RUNG: prepare="kselftest_mm map_fixed_noreplace mremap_test mremap_dontunmap madv_populate mlock2-tests
# RUNG: map_populate mlock-random-test on-fault-limit virtual_address_range mrelease_test memfd_secret"
# Linux's own tests of memory management, as this release's linux-source has them.
. /kselftest.sh
