//! `/etc/resolv.conf`.

use std::{
    fs::OpenOptions,
    io::{self, Seek, Write},
    path::Path,
};

use crate::config::Config;

/// The resolver of the C library asks no more than three.
const MOST: usize = 3;

/// The content that follows from the configurations of all links, the preferred
/// one first.
pub(crate) fn render<'a>(configs: impl Iterator<Item = &'a Config> + Clone) -> String {
    let mut text = String::from("# Written by the network service from what DHCP told.\n");
    if let Some(domain) = configs.clone().find_map(|config| config.domain.as_ref()) {
        text.push_str(&format!("search {domain}\n"));
    }
    let mut servers = Vec::new();
    for server in configs.flat_map(|config| &config.name_servers) {
        if servers.len() < MOST && !servers.contains(server) {
            servers.push(*server);
            text.push_str(&format!("nameserver {server}\n"));
        }
    }
    text
}

/// Writes a file in place: it is bound into the services, and a new file under
/// the same name would not be seen there. The new text comes before the old is
/// cut off, so that at no moment the file is empty.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    let end = file.stream_position()?;
    file.set_len(end)
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr, os::unix::fs::MetadataExt};

    use super::*;

    fn config(servers: &[u8], domain: Option<&str>) -> Config {
        Config {
            name_servers: servers
                .iter()
                .map(|last| Ipv4Addr::new(10, 0, 0, *last))
                .collect(),
            domain: domain.map(str::to_owned),
            ..Config::default()
        }
    }

    #[test]
    fn the_preferred_links_come_first_and_none_twice() {
        let configs = [
            config(&[1, 2], None),
            config(&[2, 3, 4], Some("example.org")),
        ];
        let text = render(configs.iter());
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "search example.org",
                "nameserver 10.0.0.1",
                "nameserver 10.0.0.2",
                "nameserver 10.0.0.3"
            ]
        );
    }

    #[test]
    fn without_a_network_there_are_no_servers() {
        assert_eq!(render([].iter()).lines().count(), 1);
    }

    #[test]
    fn a_shorter_text_replaces_a_longer_one_in_the_same_file() {
        let folder = std::env::temp_dir().join(format!("resolv-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("resolv.conf");
        write(&path, "a long text\n").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        write(&path, "short\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short\n");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        fs::remove_dir_all(&folder).unwrap();
    }
}
