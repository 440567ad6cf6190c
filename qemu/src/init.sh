#!/bin/busybox sh
# The demo's user space: says what the boot brought here, one `hello: fact` a line, for people and for tests.
# Kernel parameters: bramble.hold keeps a shell on the console; bramble.wget=URL times a download with Linux's own driver;
# retain_initrd keeps the initrd's memory, so that its digest can be taken where the boot loader left it.

export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
# A kernel message in the middle of a line would hide it from whoever reads the console.
echo 1 > /proc/sys/kernel/printk

say() {
    echo "hello: $*"
}

parameter() {
    for word in $(cat /proc/cmdline); do
        case "$word" in
        "$1") echo yes ;;
        "$1"=*) echo "${word#*=}" ;;
        esac
    done
}

# A device tree property as hexadecimal digits, without NULs or separators.
digits() {
    hexdump -v -e '1/1 "%02x"' "$1"
}

# The initrd's bytes, read through /proc/kcore: an ELF file whose segments are the kernel's maps of physical memory.
initrd_bytes() {
    first=$((0x$(digits /proc/device-tree/chosen/linux,initrd-start)))
    length=$((0x$(digits /proc/device-tree/chosen/linux,initrd-end) - first))
    segments=$(hexdump -v -s 56 -n 2 -e '1/2 "%u"' /proc/kcore)
    index=0
    while [ "$index" -lt "$segments" ]; do
        # Elf64_Phdr after the 64-byte header, as ten little-endian words: p_type, p_flags, then the low and high
        # halves of p_offset ($3 $4), p_vaddr ($5 $6), p_paddr ($7 $8) and p_filesz ($9 $10).
        set -- $(hexdump -v -s $((64 + index * 56)) -n 40 -e '1/4 "%08x "' /proc/kcore)
        base=$((0x$8$7))
        if [ "$1" = 00000001 ] && [ "$base" -ge 0 ] && [ "$base" -le "$first" ] &&
            [ $((first + length)) -le $((base + 0x${10}$9)) ]; then
            dd if=/proc/kcore iflag=skip_bytes,count_bytes bs=65536 skip=$((0x$4$3 + first - base)) count="$length" 2>/dev/null
            return
        fi
        index=$((index + 1))
    done
}

say "kernel $(uname -r) on $(tr -d '\0' < /proc/device-tree/model)"
say "cpus $(grep -c ^processor /proc/cpuinfo) online $(cat /sys/devices/system/cpu/online)"
say "memory $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
say "cmdline $(cat /proc/cmdline)"
if [ -n "$(parameter retain_initrd)" ]; then
    initrd_bytes > /initrd
    say "initrd $(stat -c %s /initrd) bytes sha256 $(sha256sum < /initrd | cut -d ' ' -f 1)"
    rm /initrd
fi
if [ -e /proc/device-tree/serial-number ]; then
    say "serial-number $(tr -d '\0' < /proc/device-tree/serial-number)"
fi
if [ -e /proc/device-tree/aliases/ethernet0 ]; then
    ethernet=/proc/device-tree$(tr -d '\0' < /proc/device-tree/aliases/ethernet0)
    for property in local-mac-address mac-address; do
        if [ -e "$ethernet/$property" ]; then
            say "$property $(hexdump -v -e '1/1 "%02x" ":"' "$ethernet/$property" | cut -c 1-17)"
        fi
    done
fi

load() {
    while read -r module; do
        insmod "/modules/$module" || say "module $module did not load"
    done < "/modules/$1"
}

url=$(parameter bramble.wget)
if [ -n "$url" ]; then
    load nic
    # Enumeration runs behind insmod: wait for the interface, not for a time.
    until [ -e /sys/class/net/eth0 ] || [ -e /sys/class/net/usb0 ]; do
        usleep 50000
    done
    nic=$(cd /sys/class/net && echo eth0 usb0 | xargs -n 1 ls -d 2>/dev/null | head -n 1)
    ip link set "$nic" up
    cat > /udhcpc.sh << 'END'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || ip route add default via "$router"
END
    chmod +x /udhcpc.sh
    udhcpc -i "$nic" -s /udhcpc.sh -n -q -t 20
    began=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
    bytes=$(wget -q -O - "$url" | wc -c)
    ended=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
    say "wget $bytes bytes in $(((ended - began) * 10)) ms"
fi

say "user space"
if [ -n "$(parameter bramble.hold)" ]; then
    setsid cttyhack sh
fi
load power
poweroff -f
