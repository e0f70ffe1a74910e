# shellcheck shell=bash
# What the measurements on QEMU's `virt` machine share; it is read, not run.
# Expects `key` and `image`; leaves `qemu`, the machine's process, and `work`,
# a folder that goes away at the end. PORT (default 2299) and the port after it
# must be free.

me=bench/$(basename "$0")
port=${PORT:-2299}
http=$((port + 1))
qemu=

die() {
    echo "$me: $*" >&2
    exit 1
}

row() { printf '%-58s %10s\n' "$1" "$2"; }

stop() {
    [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
    rm -rf "$work"
}

# Makes a disk, and takes out what the firmware would load.
prepare() {
    local sectors file
    [ -r "$key" ] || die "cannot read $key"
    [ -r "$image" ] || die "there is no $image; build it with \`rubus build --board qemu-virt\`"
    work=$(mktemp -d)
    trap stop EXIT
    # Slot A is the second partition.
    sectors=$(sfdisk -J "$image" | awk -F: '/"start"/ && ++n == 2 { print $2 + 0 }')
    for file in vmlinuz initrd.img cmdline.txt; do
        mcopy -i "$image@@$((sectors * 512))" "::$file" "$work/"
    done
    cp --sparse=always "$image" "$work/disk"
    truncate -s 4G "$work/disk"
}

# boot PROCESSORS [OPTION...]: of another initramfs when `initrd` names one, with
# `append` behind the image's command line.
boot() {
    local processors=$1
    shift
    rm -f "$work/console"
    qemu-system-aarch64 -M virt -cpu cortex-a72 -smp "$processors" -m 1024 "$@" \
        -display none -monitor none -serial "file:$work/console" -no-reboot \
        -kernel "$work/vmlinuz" -initrd "${initrd:-$work/initrd.img}" \
        -append "$(cat "$work/cmdline.txt") ${append:-}" \
        -drive "file=$work/disk,if=none,format=raw,id=d0" -device virtio-blk-pci,drive=d0 \
        -netdev "user,id=n0,hostfwd=tcp:127.0.0.1:$port-:22,hostfwd=tcp:127.0.0.1:$http-:8080" \
        -device virtio-net-pci,netdev=n0,romfile= &
    qemu=$!
}

guest() {
    ssh -p "$port" -i "$key" -o BatchMode=yes -o ConnectTimeout=20 -o LogLevel=ERROR \
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null rubus@127.0.0.1 "$@"
}

# until_true WHAT COMMAND...: waits up to five minutes.
until_true() {
    local what=$1 end=$((SECONDS + 300))
    shift
    until "$@"; do
        kill -0 "$qemu" 2>/dev/null || die "QEMU ended while waiting for $what"
        [ "$SECONDS" -lt "$end" ] || die "no $what after five minutes"
        sleep 0.1
    done
}

# QEMU accepts connections before the guest does: only the greeting counts.
sshd_answers() {
    timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; head -c 4 <&3" 2>/dev/null | grep -q SSH-
}

# The gateway knows that there is no such function only once the engine answers.
docker_answers() {
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$http/function/none")" = 404 ]
}

power_off() {
    # The connection may end before the command does.
    guest sudo ros os poweroff >/dev/null 2>&1 || true
    wait "$qemu" || die "QEMU failed at power-off"
    qemu=
}
