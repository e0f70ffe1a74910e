//! Names and numbers of the signals that a service may be sent (the numbers
//! are the same on every architecture that Rubus runs or is built on).

const NAMES: [(&str, i32); 23] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGWINCH", 28),
    ("SIGSYS", 31),
];

/// The number of a signal, by its name with `SIG`.
pub fn number(name: &str) -> Option<i32> {
    NAMES.iter().find(|(n, _)| *n == name).map(|&(_, n)| n)
}

/// The name of a signal.
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(_, n)| *n == number).map(|&(n, _)| n)
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|&(name, _)| name)
}
