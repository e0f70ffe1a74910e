//! What is written for others and for the next run: the state of all links in
//! memory, and the last lease of each on the data partition.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{config::Config, dhcp::Lease, interface::Interface};

/// One link in the state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkState {
    /// Its hardware address.
    pub(crate) mac: String,
    /// Whether the other side is there.
    pub(crate) carrier: bool,
    /// Where its DHCP client is: `selecting`, `bound`, ...
    pub(crate) dhcp: String,
    /// What it is configured with.
    pub(crate) config: Config,
    /// The lease that this comes from.
    pub(crate) lease: Option<Lease>,
}

/// The state file: links by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// All links that are ours.
    pub(crate) interfaces: BTreeMap<String, LinkState>,
}

impl State {
    /// The state of these links.
    pub(crate) fn of<'a>(interfaces: impl Iterator<Item = &'a Interface>) -> Self {
        let state = |interface: &Interface| {
            let mac = interface.link().mac.unwrap_or_default();
            LinkState {
                mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
                carrier: interface.link().carrier,
                dhcp: interface.state().to_owned(),
                config: interface.config().clone(),
                lease: interface.lease().cloned(),
            }
        };
        Self {
            interfaces: interfaces
                .map(|interface| (interface.link().name.clone(), state(interface)))
                .collect(),
        }
    }

    /// What an earlier run of this boot wrote; nothing when there was none.
    pub(crate) fn read(path: &Path) -> Self {
        fs::read(path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Writes it; readers see the old or the new one, never a part.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, &serde_json::to_vec(self)?, false)
    }
}

/// The leases of the boots before, one file a link.
pub(crate) struct Leases {
    folder: PathBuf,
}

impl Leases {
    /// Those in this folder.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The last lease of a link. A file that makes no sense is none: then the
    /// link asks for any address.
    pub(crate) fn read(&self, name: &str) -> Option<Lease> {
        let text = fs::read(self.path(name)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps a lease over a power cut.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, lease: &Lease) -> io::Result<()> {
        replace(&self.path(name), &serde_json::to_vec(lease)?, true)
    }

    fn path(&self, name: &str) -> PathBuf {
        // The kernel allows no `/` in names of links.
        self.folder.join(format!("{name}.lease.json"))
    }
}

fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if durable && let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::link::Link;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("store-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_lease_is_read_as_it_was_written_and_a_damaged_one_is_none() {
        let folder = folder("leases");
        let leases = Leases::new(&folder);
        assert_eq!(leases.read("eth0"), None);
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 0, 7),
            prefix: 24,
            routes: Vec::new(),
            name_servers: Vec::new(),
            domain: None,
            mtu: Some(1500),
            server: Ipv4Addr::new(10, 0, 0, 1),
            renew: 1,
            rebind: 2,
            duration: Some(3),
        };
        leases.write("eth0", &lease).unwrap();
        assert_eq!(leases.read("eth0"), Some(lease));
        fs::write(folder.join("eth0.lease.json"), b"{\"address\":").unwrap();
        assert_eq!(leases.read("eth0"), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_state_survives_this_program() {
        let folder = folder("state");
        let path = folder.join("state.json");
        assert_eq!(State::read(&path), State::default());
        let link = Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some([0xdc, 0xa6, 0x32, 0, 0, 1]),
            kind: None,
            enslaved: false,
            up: true,
            carrier: true,
        };
        let interface = Interface::new(&link, None, Config::default());
        let state = State::of([&interface].into_iter());
        state.write(&path).unwrap();
        assert_eq!(State::read(&path), state);
        assert_eq!(state.interfaces["eth0"].mac, "dc:a6:32:00:00:01");
        fs::remove_dir_all(&folder).unwrap();
    }
}
