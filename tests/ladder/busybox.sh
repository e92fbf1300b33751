# RUNG: prepare=busybox_suite cases=yes mem=1G timeout=900 linux=no
# busybox's own tests, of its applets and of its shell. Not those of bc, of the checksums and ash-z_slow,
# which calculate, or start thousands of processes, for many minutes.
# Linux needs longer than that for the rest, so a run beside it is made by hand: linux=same differ=10.
cd /bin && /bin/busybox --install -s /bin && cd /bb/testsuite || exit 1
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mkdir -p /usr/bin /etc /tmp
[ -e /etc/passwd ] || echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
[ -e /etc/group ] || echo 'root:x:0:' > /etc/group

./runtest $(/bin/busybox --list | grep -vxE 'bc|(md5|sha[0-9]+)sum') < /dev/null 2>&1 | while read -r result name; do
    case $result in
    PASS: | FAIL:) echo "$result applet $name" ;;
    SKIPPED: | UNTESTED:) echo "SKIP: applet $name" ;;
    esac
done
cd /bb/shell/ash_test || exit 1
./run-all ash-[a-y]* < /dev/null 2>/dev/null | while read -r name result; do
    case $result in
    ok) echo "PASS: ${name%:}" ;;
    fail) echo "FAIL: ${name%:}" ;;
    esac
done
echo finished
