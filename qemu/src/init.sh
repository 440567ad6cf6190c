#!/bin/busybox sh
# The demo's user space: says what the boot brought here, one `hello: fact` a line, for people and for tests.
# Kernel parameters: bramble.hold keeps a shell on the console; retain_initrd keeps the initrd's memory, so that its digest
# can be taken where the boot loader left it. With Linux's own driver of the board's NIC, in the order given:
# bramble.wget=URL times a download, bramble.get=URL keeps one and gives its digest, bramble.put=URL sends that back, and
# bramble.carrier=0 or 1 waits for the link to be lost or there. bramble.tree=PATH tells a property of the device tree,
# bramble.random=N how many values there are among N bytes of the Pi 4's random number generator.

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

# Waits until $1 succeeds, two minutes at most; enumeration and autonegotiation run behind what started them.
await() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ "$tries" -le 1200 ] || return 1
        usleep 100000
    done
}

cat > /udhcpc.sh << 'END'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || ip route add default via "$router"
echo "hello: lease $ip"
END
chmod +x /udhcpc.sh

# Brings up the board's NIC with Linux's own driver, once.
network() {
    [ -z "$nic" ] || return 0
    load nic
    nic=eth0
    if ! await '[ -e /sys/class/net/eth0 ] || [ -e /sys/class/net/usb0 ]'; then
        say "no network interface"
        nic=
        return 1
    fi
    [ -e /sys/class/net/eth0 ] || nic=usb0
    ip link set "$nic" up
    carrier 1
    device=/sys/class/net/$nic
    # Not $device/phydev: a driver that takes its PHY before the interface is there has no such link.
    phy=$(basename "$(readlink /sys/bus/mdio_bus/devices/*/driver)")
    say "nic $(basename "$(readlink "$device/device/driver")") $(cat "$device/address") phy ${phy:-none}" \
        "at $(cat "$device/speed" 2>/dev/null) $(cat "$device/duplex" 2>/dev/null)"
    udhcpc -i "$nic" -s /udhcpc.sh -n -q -t 20 || say "no lease"
}

# Reports when the link's state is $1: 1 with a carrier, 0 without.
carrier() {
    if await "[ \"\$(cat /sys/class/net/$nic/carrier)\" = $1 ]"; then
        say "carrier $1"
    else
        say "carrier is not $1"
    fi
}

# Downloads $1 and keeps it.
download() {
    if wget -q -O /body "$1"; then
        say "get $(stat -c %s /body) bytes sha256 $(sha256sum < /body | cut -d ' ' -f 1)"
    else
        say "get $1 failed"
    fi
}

# Sends what `download` kept to $1, as it is: busybox wget would end at the first NUL.
upload() {
    place=${1#http://}
    host=${place%%/*}
    length=$(stat -c %s /body)
    answer=$({
        printf 'PUT /%s HTTP/1.1\r\nHost: %s\r\n' "${place#*/}" "$host"
        printf 'Connection: close\r\nContent-Length: %s\r\n\r\n' "$length"
        cat /body
    } | nc "${host%:*}" "${host#*:}" | head -n 1 | tr -d '\r')
    say "put $length bytes: $answer"
}

# Draws $1 bytes through Linux's own driver of the random number generator.
random() {
    load random
    if await '[ -e /dev/hwrng ]'; then
        head -c "$1" /dev/hwrng > /random
        values=$(hexdump -v -e '1/1 "%02x\n"' /random | sort -u | wc -l)
        say "random $(stat -c %s /random) bytes from $(cat /sys/class/misc/hw_random/rng_current) have $values values"
    else
        say "no random number generator"
    fi
}

for word in $(cat /proc/cmdline); do
    value=${word#*=}
    case "$word" in
    bramble.wget=*)
        network
        began=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
        if wget -q -O /dev/null "$value"; then
            ended=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
            say "wget in $(((ended - began) * 10)) ms"
        else
            say "wget $value failed"
        fi
        ;;
    bramble.get=*) network && download "$value" ;;
    bramble.put=*) network && upload "$value" ;;
    bramble.random=*) random "$value" ;;
    bramble.tree=*) say "tree $value $(tr '\0' ' ' < "/proc/device-tree$value")" ;;
    bramble.carrier=*) network && carrier "$value" ;;
    esac
done

say "user space"
if [ -n "$(parameter bramble.hold)" ]; then
    setsid cttyhack sh
fi
load power
poweroff -f
