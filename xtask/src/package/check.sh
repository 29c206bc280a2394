# $1: the package; $2: an empty folder. Runs in a mount namespace of its own, as root: the machine's root file
# system, with a layer over it that takes all changes, becomes the root of a real installation.
package=$1 place=$2
layer=$(mktemp -d /dev/shm/shmfuse-package.XXXXXX)
trap 'umount -R "$place/image" 2>/dev/null; rm -rf "$layer"' EXIT
mkdir "$layer/upper" "$layer/work" "$place/image"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$place/image"
for dir in dev proc sys; do mount --rbind /$dir "$place/image/$dir"; done
mount -t tmpfs tmpfs "$place/image/tmp"
cp "$package" "$place/image/tmp/shmfuse.deb"

chroot "$place/image" bash -euo pipefail -c '
    cd /tmp
    dpkg --install shmfuse.deb >log 2>&1 || { cat log; exit 1; }
    dpkg --verify shmfuse
    for page in shmfuse shmfuse-mount shmfuse-umount shmfuse-stat shmfuse-doctor mount.fuse.shmfuse; do
        zcat -f /usr/share/man/man8/$page.8* | head -n 20 | grep -q "^\.TH" || { echo "no page $page"; exit 1; }
    done
    bash -c "source /usr/share/bash-completion/completions/shmfuse; complete -p shmfuse" >/dev/null
    test -s /usr/share/doc/shmfuse/examples/fstab -a -s /usr/lib/systemd/system/shmfuse@.service
    # The pages are looked at above; man(1) itself finds none on a machine that is set up to do without them.
    ! command -v systemd-analyze >/dev/null || systemd-analyze verify --man=no shmfuse@mnt.service

    mkdir lower mnt; echo as below >lower/file
    works() { test "$(cat mnt/file)" = "as below"; findmnt -t fuse.shmfuse mnt >/dev/null; }
    shmfuse mount lower mnt;                              works; shmfuse umount mnt
    mount -t fuse.shmfuse /tmp/lower /tmp/mnt -o ro;      works; umount mnt
    mount -t shmfuse /tmp/lower /tmp/mnt;                 works; umount mnt
    echo "/tmp/lower /tmp/mnt fuse.shmfuse cache=ttl=1,nofail 0 0" >fstab
    mount -T fstab /tmp/mnt;                              works; shmfuse umount mnt

    dpkg --remove shmfuse >/dev/null
    ! test -e /usr/bin/shmfuse -o -e /usr/sbin/mount.fuse.shmfuse
    echo "package: installed, mounted four ways, removed"
'
