# RUNG: prepare=debian mem=3G timeout=900
# A Debian root as debootstrap unpacks it: its programs, dpkg and apt, and here its second stage, too,
# which configures every package. Linux is left out of that: under an emulator it takes too long.
exec /bin/bash -c '
export LC_ALL=C HOME=/root DEBIAN_FRONTEND=noninteractive TERM=linux
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
say() { echo "== $*"; }

say programs
cd /root; umask 022
printf "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/sh\n" > /etc/passwd
printf "root:x:0:\nnogroup:x:65534:\n" > /etc/group
id; whoami; groups; arch; nproc --all; pwd; tty
ls -l --time-style=+ /proc/self/exe /bin /etc/os-release
ls /proc/self | grep -E "^(cmdline|environ|fd|maps|stat|status)$"
stat -c "%n %F %a %U %G" / /etc/passwd /bin /dev/null /tmp 2>&1 | sort
stat -L -c "%F %s" /etc/debian_version; stat -f -c "%T" /proc /tmp
df /tmp | wc -l; du -s /etc/alternatives | cut -f2
find / -xdev -name "*.so.*" -type f -size +100k 2>/dev/null | sort | md5sum
find /usr/share -type f -print0 | sort -z | xargs -0 -n 50 -P 3 cat | wc -c
perl -e "use strict; my %h = map { (\$_ => \$_ ** 2) } 1 .. 5; print qq(\$_ \$h{\$_}\n) for sort keys %h;
    open(my \$p, q(-|), q(seq), 3) or die; print while <\$p>; my \$pid = fork // die;
    exit 7 if !\$pid; waitpid(\$pid, 0); print \$? >> 8, qq(\n); kill q(USR1), \$\$ if \$SIG{USR1} = sub { print qq(usr1\n) }"
printf "c\nb\na\n" | sort | tee /tmp/t | tac | nl; sha256sum < /tmp/t; mawk "{ n++ } END { print n }" /tmp/t
tar cf - -C /etc . 2>/dev/null | gzip -9 | gzip -d | tar tf - | wc -l
dd if=/dev/zero bs=64k count=32 2>/dev/null | md5sum; truncate -s 1G /tmp/big; stat -c %b /tmp/big
cp -a /usr/share/perl5 /tmp/p && diff -r /usr/share/perl5 /tmp/p && echo same
mkfifo /tmp/f; (timeout 5 cat /tmp/f &) ; echo fifo > /tmp/f; ln /tmp/t /tmp/t2; stat -c %h /tmp/t2
chmod 4711 /tmp/t; chown 1:2 /tmp/t; stat -c "%a %u %g" /tmp/t; touch -d @1000000000 /tmp/t; date -u -r /tmp/t
nice -n 3 nice; { timeout -s KILL 0.2 sleep 60; } 2> /dev/null; echo $?; env -i FOO=1 env; sleep 0.1; getent passwd root; ls -ld --time-style=+%s /etc/debian_version /usr/bin/passwd /usr/bin/chage /bin
echo "read line" | script -qec "cat; tty | sed s/[0-9]*$//" /dev/null | tr -d "\r"; mountpoint /proc
setsid -w sh -c "cut -d \" \" -f 6 /proc/self/stat > /tmp/sid; [ \$(cat /tmp/sid) = \$\$ ] && echo leads"; flock /tmp/l echo locked; prlimit --nofile=10 bash -c "ulimit -n"

say "login shells"
su - -c "echo \$HOME \$SHELL; shopt -q login_shell && echo login" root 2>&1
su -s /bin/sh -c "id -un" nobody 2>&1; bash -lic "shopt login_shell; echo \$-" 2>/dev/null
setpriv --reuid 1000 --regid 1000 --clear-groups id

say dpkg
dpkg --version | head -1; apt-get --version | head -1; dpkg --print-architecture
mkdir -p pkg/DEBIAN pkg/usr/share/hello; echo hello > pkg/usr/share/hello/text
printf "Package: hello-small\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <a@b.c>\nDescription: a test\n" > pkg/DEBIAN/control
printf "#!/bin/sh\necho configured \$1\n" > pkg/DEBIAN/postinst; printf "#!/bin/sh\necho going \$1\n" > pkg/DEBIAN/prerm
chmod 755 pkg/DEBIAN/p*; mkdir repo
dpkg-deb --root-owner-group -b pkg repo/hello-small.deb; dpkg-deb -c repo/hello-small.deb | sed "s/ 20.*:.. / /"
dpkg -i repo/hello-small.deb 2>&1 | grep -v warning; dpkg -L hello-small; dpkg -s hello-small | head -3
dpkg -S /usr/share/hello/text; dpkg -V hello-small; dpkg -r hello-small; ls /usr/share/hello 2>&1
cd repo; { dpkg-deb -f hello-small.deb; echo "Filename: ./hello-small.deb"; echo "Size: $(stat -c %s hello-small.deb)"
echo "SHA256: $(sha256sum < hello-small.deb | cut -d " " -f 1)"; } > Packages; cd ..
mkdir -p /tmp/lists/partial; echo "deb [trusted=yes] file:/root/repo ./" > /etc/apt/sources.list
apt="apt-get -q -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dir::State::lists=/tmp/lists"
$apt update 2>&1 | tail -1; apt-cache -o Dir::State::lists=/tmp/lists policy hello-small | head -3
$apt -y install hello-small 2>&1 | grep -E "^(Setting up|configured|E:)"; cat /usr/share/hello/text
$apt -y purge hello-small 2>&1 | grep -E "^(Removing|going|E:)"; dpkg -l hello-small 2>&1 | tail -1

say configured
case $(uname -r) in *faultline*)
    mv /etc/apt/sources.list /root; rm -f /etc/passwd* /etc/group* /var/lib/dpkg/status* /var/lib/dpkg/available*
    /debootstrap/debootstrap --second-stage > /root/log 2>&1 || { cat /root/log; cat /debootstrap/debootstrap.log; exit 1; } >&2
    [ -z "$(dpkg --audit)" ] && apt-get check > /dev/null && [ "$(dpkg -l | grep -c ^ii)" -ge 80 ] || { dpkg -l >&2; exit 1; }
    useradd -m -s /bin/bash student && [ "$(su - student -c "cd && pwd && id -un" | tr "\n" " ")" = "/home/student student " ] || exit 1
    mv /root/sources.list /etc/apt; chmod 755 /root
    apt-get -qq update && apt-get -qq -y install hello-small > /dev/null 2>&1 && [ -f /usr/share/hello/text ] || exit 1
esac
echo yes
' 2>&1
