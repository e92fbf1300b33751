# RUNG: prepare=busybox_suite cases=yes mem=1G timeout=900 differ=10
# busybox's own tests, of its applets and of its shell. Not those of bc and ash-z_slow, which calculate
# for many minutes.
cd /bin && /bin/busybox --install -s /bin && cd /bb || exit 1
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mkdir -p /usr/bin /etc /tmp
[ -e /etc/passwd ] || echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
[ -e /etc/group ] || echo 'root:x:0:' > /etc/group

applet_tests() {
    cd /bb/testsuite || return
    ./runtest $(/bin/busybox --list | grep -vx bc) < /dev/null 2>&1 | while read -r result name; do
        case $result in
        PASS: | FAIL:) echo "$result applet $name" ;;
        SKIPPED: | UNTESTED:) echo "SKIP: applet $name" ;;
        esac
    done
}

shell_tests() {
    cd /bb/shell/ash_test || return
    ./run-all ash-[a-y]* < /dev/null 2>/dev/null | while read -r name result; do
        case $result in
        ok) echo "PASS: ${name%:}" ;;
        fail) echo "FAIL: ${name%:}" ;;
        esac
    done
}

# At the same time, for the sake of a second processor. What a shell starts with & ignores SIGINT, which
# some of the tests send; what is in a pipe does not. The names of 300 cases fit into one.
shell_tests | { applet_tests; cat; }
echo finished
