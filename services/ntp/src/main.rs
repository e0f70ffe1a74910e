//! Writes down which servers the configuration names, and becomes chronyd.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command, process::ExitCode};

use rubus_config::{paths, settings::Ntp, view};

/// Included by `chrony.conf`; in memory, of this user.
const SOURCES: &str = "/run/chrony/servers.conf";
/// Debian's pool, whose names their maintainers may move.
const POOL: &str = "pool 2.debian.pool.ntp.org iburst maxsources 4\n";

fn main() -> ExitCode {
    // Wrong time breaks more than the wrong servers do.
    let settings = view::read(Path::new(paths::OWN_SETTINGS)).unwrap_or_else(|error| {
        eprintln!("{error}; going on with the servers of Debian's pool");
        Default::default()
    });
    if let Err(error) = fs::write(SOURCES, servers(&settings.ntp)) {
        eprintln!("cannot write {SOURCES}: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new("/usr/sbin/chronyd")
        .args(["-n", "-U", "-F", "2"])
        .exec();
    eprintln!("cannot start chronyd: {error}");
    ExitCode::FAILURE
}

/// The lines of chrony.conf for the servers. Each is asked quickly at first.
fn servers(ntp: &Ntp) -> String {
    if ntp.servers.is_empty() {
        return POOL.to_owned();
    }
    ntp.servers
        .iter()
        .map(|server| format!("server {} iburst\n", server.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_configuration_take_the_place_of_the_pool() {
        assert_eq!(servers(&Ntp::default()), POOL);
        let named = Ntp {
            servers: ["time.lan", "192.168.1.1"]
                .map(|name| name.try_into().unwrap())
                .to_vec(),
        };
        assert_eq!(
            servers(&named),
            "server time.lan iburst\nserver 192.168.1.1 iburst\n"
        );
    }
}
