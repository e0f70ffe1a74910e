//! The system call filter of services that say nothing of it: an allow-list
//! for 64-bit Arm. What is not on it fails with EPERM.
//!
//! Left out are calls that make namespaces, mount, load code into the kernel,
//! change clocks, trace others or reach behind the back of the kernel's own
//! checks. Some of them come back with the capability that governs them: a
//! service that keeps CAP_SYS_TIME needs the calls that set the clock.

use serde::{Deserialize, Serialize};

/// `linux.seccomp` of the OCI runtime specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// What happens to a call that no rule names.
    pub default_action: String,
    /// The error of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Instruction sets that the filter covers.
    pub architectures: Vec<String>,
    /// The rules.
    pub syscalls: Vec<Rule>,
}

/// One rule of a [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The calls that it is about.
    pub names: Vec<String>,
    /// What happens to them.
    pub action: String,
    /// The error, where the action is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// What their arguments have to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
}

/// A condition on an argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Which argument, from 0.
    pub index: u32,
    /// The value, or the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// The masked value.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// The comparison.
    pub op: String,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// `AF_VSOCK`: talks to a hypervisor past every network namespace.
const AF_VSOCK: u64 = 40;
/// All `CLONE_NEW*` flags of clone(2), where `CLONE_NEWTIME` is not one.
const CLONE_NEW: u64 = 0x7e02_0000;
/// What personality(2) may set: Linux, 32-bit Linux, either with UNAME26; and
/// the question which it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls that any service may make.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    // Files and folders.
    "access", "cachestat", "chdir", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3",
    "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2",
    "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr",
    "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents64", "getxattr",
    "inotify_add_watch", "inotify_init1", "inotify_rm_watch", "ioctl", "lgetxattr", "linkat",
    "listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "memfd_create", "mkdirat",
    "mknodat", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend",
    "mq_unlink", "newfstatat", "openat", "openat2", "pipe2", "pread64", "preadv", "preadv2",
    "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlinkat", "readv", "removexattr",
    "renameat", "renameat2", "sendfile", "setxattr", "splice", "statfs", "statx", "symlinkat",
    "sync", "sync_file_range", "syncfs", "tee", "truncate", "umask", "unlinkat", "utimensat",
    "vmsplice", "write", "writev",
    // Waiting.
    "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "eventfd2", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "ppoll", "pselect6",
    "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime",
    // Memory.
    "brk", "madvise", "membarrier", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect",
    "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free",
    "pkey_mprotect", "process_mrelease", "remap_file_pages",
    // Processes and threads.
    "capget", "capset", "execve", "execveat", "exit", "exit_group", "futex", "futex_requeue",
    "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "getcpu", "getegid", "geteuid",
    "getgid", "getgroups", "getpgid", "getpid", "getppid", "getpriority", "getresgid", "getresuid",
    "getrusage", "getsid", "gettid", "getuid", "ioprio_get", "ioprio_set", "kill", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "pidfd_open", "pidfd_send_signal", "prctl",
    "prlimit64", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity",
    "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp",
    "set_robust_list", "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups", "setpgid",
    "setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setrlimit", "getrlimit",
    "setsid", "setuid", "sigaltstack", "tgkill", "tkill", "uname", "sysinfo", "wait4", "waitid",
    // Time.
    "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep",
    "setitimer", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime", "times",
    // Sockets and messages.
    "accept", "accept4", "bind", "connect", "getpeername", "getrandom", "getsockname", "getsockopt",
    "listen", "msgctl", "msgget", "msgrcv", "msgsnd", "recvfrom", "recvmmsg", "recvmsg", "semctl",
    "semget", "semop", "semtimedop", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shmat",
    "shmctl", "shmdt", "shmget", "shutdown", "socketpair",
];

/// Calls that come with a capability.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at", "name_to_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_SYS_ADMIN", &[
        "bpf", "clone", "clone3", "fanotify_init", "fanotify_mark", "fsconfig", "fsmount", "fsopen",
        "fspick", "listmount", "mount", "mount_setattr", "move_mount", "name_to_handle_at",
        "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname",
        "setns", "statmount", "umount2", "unshare", "pivot_root",
    ]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &[
        "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    ]),
    ("CAP_SYS_TIME", &["adjtimex", "clock_adjtime", "clock_settime", "settimeofday"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYSLOG", &["syslog"]),
];

/// The filter of a service that keeps these capabilities.
pub fn filter(capabilities: &[String]) -> Filter {
    let has = |name: &str| capabilities.iter().any(|it| it == name);
    let mut names: Vec<&str> = ALWAYS.to_vec();
    for (capability, calls) in WITH_CAPABILITY {
        if has(capability) {
            names.extend(*calls);
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut syscalls = vec![allow(&names, None)];
    for value in PERSONALITIES {
        syscalls.push(allow(&["personality"], Some((value, 0, "SCMP_CMP_EQ"))));
    }
    syscalls.push(allow(&["socket"], Some((AF_VSOCK, 0, "SCMP_CMP_NE"))));
    if !has("CAP_SYS_ADMIN") {
        syscalls.push(allow(
            &["clone"],
            Some((CLONE_NEW, 0, "SCMP_CMP_MASKED_EQ")),
        ));
        // The flags of clone3 lie in memory, where no filter can see them; a C
        // library that is told ENOSYS takes clone instead.
        syscalls.push(Rule {
            names: vec!["clone3".to_owned()],
            action: "SCMP_ACT_ERRNO".to_owned(),
            errno_ret: Some(ENOSYS),
            args: Vec::new(),
        });
    }
    Filter {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(EPERM),
        architectures: vec!["SCMP_ARCH_AARCH64".to_owned()],
        syscalls,
    }
}

fn allow(names: &[&str], condition: Option<(u64, u64, &str)>) -> Rule {
    Rule {
        names: names.iter().map(|&it| it.to_owned()).collect(),
        action: "SCMP_ACT_ALLOW".to_owned(),
        errno_ret: None,
        args: condition
            .into_iter()
            .map(|(value, value_two, op)| Argument {
                index: 0,
                value,
                value_two,
                op: op.to_owned(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(filter: &Filter, call: &str) -> bool {
        filter.syscalls.iter().any(|rule| {
            rule.action == "SCMP_ACT_ALLOW"
                && rule.args.is_empty()
                && rule.names.iter().any(|it| it == call)
        })
    }

    #[test]
    fn what_is_not_named_fails_with_eperm() {
        let filter = filter(&[]);
        assert_eq!(filter.default_action, "SCMP_ACT_ERRNO");
        assert_eq!(filter.default_errno_ret, Some(1));
        assert!(allowed(&filter, "openat"));
        for call in [
            "mount",
            "reboot",
            "ptrace",
            "init_module",
            "clock_settime",
            "bpf",
            "setns",
            "unshare",
            "kexec_load",
            "add_key",
            "keyctl",
            "io_uring_setup",
            "userfaultfd",
            "swapon",
            "clone3",
        ] {
            assert!(!allowed(&filter, call), "{call}");
        }
    }

    #[test]
    fn a_capability_brings_its_calls_and_no_others() {
        let filter = filter(&["CAP_SYS_TIME".to_owned()]);
        assert!(allowed(&filter, "clock_settime") && allowed(&filter, "adjtimex"));
        assert!(!allowed(&filter, "mount"));
    }

    #[test]
    fn new_namespaces_need_sys_admin() {
        let find = |filter: &Filter, call: &str| {
            filter
                .syscalls
                .iter()
                .find(|it| it.names == [call])
                .cloned()
        };
        let plain = filter(&[]);
        assert_eq!(find(&plain, "clone").unwrap().args[0].value, CLONE_NEW);
        assert_eq!(find(&plain, "clone3").unwrap().errno_ret, Some(ENOSYS));
        let admin = filter(&["CAP_SYS_ADMIN".to_owned()]);
        assert!(allowed(&admin, "clone") && allowed(&admin, "clone3"));
        assert!(find(&admin, "clone3").is_none());
    }

    #[test]
    fn every_call_is_listed_once_and_every_capability_is_real() {
        let mut names = ALWAYS.to_vec();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for (capability, calls) in WITH_CAPABILITY {
            assert!(crate::capabilities::ALL.contains(capability));
            assert!(
                calls.iter().all(|call| !ALWAYS.contains(call)),
                "{capability}"
            );
        }
    }
}
