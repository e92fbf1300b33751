# RUNG: packages="git dash sed grep coreutils" mem=1G timeout=240
# Histories made, packed by threads, cloned by processes that talk through pipes, searched, rebased.
export HOME=/root LC_ALL=C GIT_CONFIG_COUNT=0
export GIT_AUTHOR_DATE="2020-01-01T00:00:00Z" GIT_COMMITTER_DATE="2020-01-01T00:00:00Z"
cd /tmp || exit 1
git config --global user.name n; git config --global user.email a@b.c
git init -q -b main one && cd one || exit 1
i=1
while [ $i -le 8 ]; do
    seq $((i * 500)) > numbers; echo $i > f$i
    git add . && git commit -q -m "c$i" || exit 1
    i=$((i + 1))
done
git log --oneline
git repack -adq --threads=4 && git fsck --full --strict; echo "fsck $?"
git count-objects -v | grep -v size
git clone -q . ../linked; git clone -q --no-local . ../copied
cd ../copied || exit 1
git log --oneline | md5sum; git grep -c 99; git diff HEAD~3 --stat
git checkout -q -b topic HEAD~4; echo y > y; git add y; git commit -q -m topic
git rebase -q main; git log --oneline | head -3
git push -q origin topic; git -C ../one for-each-ref
git bisect start main HEAD~7 2>&1; git bisect run sh -c 'test ! -e f5' 2>&1 | grep 'first bad'
git bisect reset 2>&1; echo x >> f1; git stash; git stash pop; git diff
git archive main | tar -t | wc -l
git gc -q && git fsck; git status --short
