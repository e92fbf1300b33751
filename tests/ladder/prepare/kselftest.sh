# A case is a program by its status (4: skipped) and, where it writes TAP, each of its results.
cd /kselftest || exit 1
for program in *; do
    "./$program" > /tmp/out 2>&1
    status=$?
    case $status in
    0) echo "PASS: $program" ;;
    4) echo "SKIP: $program" ;;
    *) echo "FAIL: $program" ;;
    esac
    sed -n -e "/# SKIP/s/^\(not \)*ok [0-9]* */SKIP: $program: /p" \
        -e "/# SKIP/d" -e "/# XFAIL/d" -e "s/^ok [0-9]* */PASS: $program: /p" \
        -e "s/^not ok [0-9]* */FAIL: $program: /p" /tmp/out
done
echo finished
