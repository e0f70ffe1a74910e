//! What is written for others and for the next run: the state of all links in
//! memory, and the last lease of each on the data partition.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rubus_config::files;
use serde::{Deserialize, Serialize};

use crate::{
    dhcp::Lease,
    interface::{Interface, Kept},
    link::Link,
    vlan::Vlan,
};

/// One link in the state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkState {
    /// The kernel's number for it, which no other link has in this boot.
    pub(crate) index: u32,
    /// Its hardware address.
    pub(crate) mac: String,
    /// Whether the other side is there.
    pub(crate) carrier: bool,
    /// Where its DHCP client is: `selecting`, `bound`, ...
    pub(crate) dhcp: String,
    /// What it is configured with, and where that comes from.
    #[serde(flatten)]
    pub(crate) kept: Kept,
}

/// The state file: links by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// All links that are ours.
    pub(crate) interfaces: BTreeMap<String, LinkState>,
    /// The VLANs that we made.
    pub(crate) vlans: BTreeMap<String, Vlan>,
}

impl State {
    /// The state of these links.
    pub(crate) fn of<'a>(
        interfaces: impl Iterator<Item = &'a Interface>,
        vlans: &BTreeMap<String, Vlan>,
    ) -> Self {
        let state = |interface: &Interface| {
            let link = interface.link();
            let mac = link.mac.unwrap_or_default();
            LinkState {
                index: link.index,
                mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
                carrier: link.carrier,
                dhcp: interface.state().to_owned(),
                kept: interface.kept().clone(),
            }
        };
        Self {
            interfaces: interfaces
                .map(|interface| (interface.link().name.clone(), state(interface)))
                .collect(),
            vlans: vlans.clone(),
        }
    }

    /// Takes out what was left on this link; nothing when the name was that of
    /// another one.
    pub(crate) fn take(&mut self, link: &Link) -> Option<Kept> {
        let left = self.interfaces.remove(&link.name)?;
        (left.index == link.index).then_some(left.kept)
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
        files::replace_lazily(path, &serde_json::to_vec(self)?, 0o644)
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
        files::replace(&self.path(name), &serde_json::to_vec(lease)?, 0o644)
    }

    fn path(&self, name: &str) -> PathBuf {
        // The kernel allows no `/` in names of links.
        self.folder.join(format!("{name}.lease.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;
    use crate::{interface::Event, setup::Setup};

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
            supplicant: false,
            mtu: 1500,
        };
        let settings = r#"{
            "addresses": ["10.0.0.7/24", "fd00::7/64"], "gateway4": "10.0.0.1",
            "dns": ["fd00::1"], "search": ["lan"], "mtu": 1400
        }"#;
        let setup = Setup::new(&serde_json::from_str(settings).unwrap(), &link);
        let mut interface = Interface::new(&link, setup, None, None);
        interface.handle(Duration::ZERO, 0, Event::Link(link.clone()));
        let vlan = Vlan {
            id: 7,
            link: "eth0".to_owned(),
        };
        let vlans = BTreeMap::from([("lan".to_owned(), vlan)]);
        let state = State::of([&interface].into_iter(), &vlans);
        state.write(&path).unwrap();
        let mut read = State::read(&path);
        assert_eq!(read, state);
        assert_eq!(read.interfaces["eth0"].mac, "dc:a6:32:00:00:01");
        let other = Link {
            index: 3,
            ..link.clone()
        };
        assert_eq!(read.clone().take(&other), None);
        assert_eq!(read.take(&link).as_ref(), Some(interface.kept()));
        assert_eq!(read.take(&link), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
