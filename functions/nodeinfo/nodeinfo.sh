#!/bin/sh
# Says on which node it runs. All of it is the kernel's view of the whole node,
# except the host name, which is that of the container.
read -r up _ </proc/uptime
up=${up%.*}
printf 'Hostname: %s\n' "$(hostname)"
printf 'Kernel: %s\n' "$(uname -sr)"
printf 'Architecture: %s\n' "$(uname -m)"
printf 'CPUs: %s\n' "$(nproc)"
printf 'Uptime: %sd %sh %sm\n' $((up / 86400)) $((up / 3600 % 24)) $((up / 60 % 60))
awk '
    /^MemTotal:/ { total = $2 }
    /^MemAvailable:/ { available = $2 }
    END { printf "Memory: %d MiB, %d MiB available\n", total / 1024, available / 1024 }
' /proc/meminfo
