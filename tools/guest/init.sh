#!/bin/busybox sh
# The first process of the guest: a real USB stack, the host's files, then the program in /mnt/job.
BOX=/bin/busybox
$BOX mount -t proc proc /proc
$BOX mount -t sysfs sys /sys
$BOX mount -t devtmpfs dev /dev
echo guest: up

value() {
    for word in $($BOX cat /proc/cmdline); do
        case $word in "$1="*) echo "${word#*=}" ;; esac
    done
}

for module in $($BOX cat /modules); do
    options=
    # A camera that nobody uses would be put to sleep, and be late to wake.
    [ "$module" = usbcore ] &&
        options="usbfs_memory_mb=$(value guest.usbfs_memory_mb) autosuspend=-1"
    [ "$module" = uvcvideo ] && [ "$(value guest.uvcvideo)" != 1 ] && continue
    [ "$module" = vhci-hcd ] && [ "$(value guest.long_transfers)" = 1 ] && module=vhci-hcd-long
    $BOX insmod "/$module.ko" $options || echo "guest: $module does not load"
done

mount9p() {
    $BOX mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"
}
mount9p host /host ro,cache=loose
mount9p share /host/mnt rw
$BOX mount -t proc proc /host/proc
$BOX mount -t sysfs sys /host/sys
$BOX mount -t devtmpfs dev /host/dev
$BOX mount -t tmpfs -o "size=$(value guest.room_mb)m" tmpfs /host/run
$BOX mkdir /host/run/shm
$BOX ifconfig lo 127.0.0.1 up

$BOX env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/run TMPDIR=/run \
    $BOX chroot /host /bin/sh /mnt/job
code=$?
$BOX sync
# QEMU ends with twice this and one more.
$BOX printf "\\$($BOX printf %o $code)" | $BOX dd of=/dev/port bs=1 seek=244 2>/dev/null
