//! Which wireless interfaces there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// Where the kernel lists interfaces.
pub(crate) const FOLDER: &str = "/sys/class/net";

/// An interface. One that goes and comes back has another number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interface {
    /// The kernel's number for it.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
}

/// The interface that each radio came with: the one with the lowest number.
/// Others were made beside it, and belong to whoever made them.
///
/// # Errors
/// When the kernel does not list interfaces.
pub(crate) fn wireless(folder: &Path) -> io::Result<BTreeSet<Interface>> {
    let mut radios: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some((radio, interface)) = read(&entry.path(), entry.file_name().to_str()) else {
            continue;
        };
        let first = radios.entry(radio).or_insert_with(|| interface.clone());
        if interface < *first {
            *first = interface;
        }
    }
    Ok(radios.into_values().collect())
}

/// The interface of a folder, and its radio; none when it has no radio, or
/// goes away meanwhile.
fn read(folder: &Path, name: Option<&str>) -> Option<(String, Interface)> {
    let radio = fs::read_to_string(folder.join("phy80211/name")).ok()?;
    let index = fs::read_to_string(folder.join("ifindex")).ok()?;
    let interface = Interface {
        index: index.trim().parse().ok()?,
        name: name?.to_owned(),
    };
    Some((radio, interface))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_first_interface_of_each_radio_is_found() {
        let root = std::env::temp_dir().join(format!("wifi-{}", std::process::id()));
        let net = root.join("class/net");
        fs::create_dir_all(&net).unwrap();
        for (name, index, radio) in [
            ("lo", "1", None),
            ("eth0", "2", None),
            ("wlan0", "3", Some("phy0")),
            ("ap0", "12", Some("phy0")),
            ("wlan1", "7", Some("phy1")),
            // It goes away while it is looked at.
            ("wlan2", "", Some("phy2")),
        ] {
            // As in the kernel, what is listed are links.
            let device = root.join("devices").join(name);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("ifindex"), format!("{index}\n")).unwrap();
            if let Some(radio) = radio {
                let folder = root.join("devices").join(radio);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("name"), format!("{radio}\n")).unwrap();
                symlink(folder, device.join("phy80211")).unwrap();
            }
            symlink(device, net.join(name)).unwrap();
        }
        let found = wireless(&net).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.index, it.name.as_str()))
            .collect();
        assert_eq!(found, [(3, "wlan0"), (7, "wlan1")]);
        assert!(wireless(&net).is_err());
    }
}
