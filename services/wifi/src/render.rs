//! The settings in the words of wpa_supplicant.

use std::fmt::Write;

use rubus_config::settings::{Wifi, WifiNetwork};
use sha1::Sha1;

/// wpa_supplicant's configuration for these settings.
pub(crate) fn render(wifi: &Wifi) -> String {
    // Peer-to-peer would make an interface of its own.
    let mut text = String::from("p2p_disabled=1\n");
    if let Some(country) = &wifi.country {
        text += &format!("country={}\n", country.as_str());
    }
    for (ssid, network) in &wifi.networks {
        text += &block(ssid.as_str(), network);
    }
    text
}

fn block(ssid: &str, network: &WifiNetwork) -> String {
    let name = hex(ssid.as_bytes());
    let mut text = format!("network={{\n\tssid={name}\n");
    if network.hidden {
        // Asks for it by name.
        text += "\tscan_ssid=1\n";
    }
    match network.password.as_ref().map(|it| it.as_str()) {
        None => text += "\tkey_mgmt=NONE\n",
        // WPA3 proves that both know the password, which does not follow from
        // the key.
        Some(key) if is_key(key) => text += &secured("WPA-PSK", key),
        Some(password) => {
            text += &secured("WPA-PSK SAE", &hex(&key(ssid, password)));
            text += &format!("\tsae_password={}\n", hex(password.as_bytes()));
        }
    }
    text + "}\n"
}

/// The ciphers of the first WPA are broken, so it is not spoken. Management
/// frames are protected where the other side can do that; WPA3 asks for it.
fn secured(methods: &str, key: &str) -> String {
    format!("\tproto=RSN\n\tkey_mgmt={methods}\n\tieee80211w=1\n\tpsk={key}\n")
}

/// Passwords have 63 characters at most.
fn is_key(password: &str) -> bool {
    password.len() == 64
}

/// The key that follows from a password (IEEE 802.11i). wpa_supplicant would
/// work it out too, but takes a # for a comment when a quote is before it.
fn key(ssid: &str, password: &str) -> [u8; 32] {
    pbkdf2::pbkdf2_hmac_array::<Sha1, 32>(password.as_bytes(), ssid.as_bytes(), 4096)
}

/// In hexadecimal, no byte of a name or a password means anything.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // A string takes all that is written.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(settings: &str) -> String {
        render(&serde_json::from_str(settings).unwrap())
    }

    fn with_password(password: &str) -> WifiNetwork {
        WifiNetwork {
            password: Some(password.try_into().unwrap()),
            hidden: false,
        }
    }

    #[test]
    fn a_network_is_a_block_of_digits() {
        assert_eq!(
            rendered(r#"{"country": "DE", "networks": {"IEEE": {"password": "password"}}}"#),
            "p2p_disabled=1\ncountry=DE\nnetwork={\n\tssid=49454545\n\tproto=RSN\n\
             \tkey_mgmt=WPA-PSK SAE\n\tieee80211w=1\n\
             \tpsk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e\n\
             \tsae_password=70617373776f7264\n}\n"
        );
        assert_eq!(rendered("{}"), "p2p_disabled=1\n");
    }

    #[test]
    fn names_of_any_bytes_stay_themselves() {
        for (name, digits) in [
            ("a", "61"),
            (" two  words ", "2074776f2020776f72647320"),
            (r#"quo"te"#, "71756f227465"),
            (r"back\slash", "6261636b5c736c617368"),
            ("Käse 🧀", "4bc3a4736520f09fa780"),
            ("}#", "7d23"),
        ] {
            let mut wifi = Wifi::default();
            wifi.networks
                .insert(name.try_into().unwrap(), WifiNetwork::default());
            assert_eq!(
                render(&wifi),
                format!("p2p_disabled=1\nnetwork={{\n\tssid={digits}\n\tkey_mgmt=NONE\n}}\n")
            );
        }
    }

    #[test]
    fn passwords_of_any_characters_stay_themselves() {
        let longest = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef012345678";
        for (password, digits) in [
            (r#"quo"te\s"#, "71756f2274655c73"),
            (r#"no" # "it"#, "6e6f22202320226974"),
            (" 2 words ", "203220776f72647320"),
            (longest, &hex(longest.as_bytes())),
        ] {
            let text = block("x", &with_password(password));
            assert!(text.contains("\tkey_mgmt=WPA-PSK SAE\n"), "{text}");
            assert!(text.ends_with(&format!("\tsae_password={digits}\n}}\n")));
        }
    }

    /// The vectors of IEEE 802.11i, H.4.
    #[test]
    fn the_key_follows_from_password_and_name() {
        for (password, name, digits) in [
            (
                "password",
                "IEEE",
                "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e",
            ),
            (
                "ThisIsAPassword",
                "ThisIsASSID",
                "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af",
            ),
        ] {
            assert_eq!(hex(&key(name, password)), digits);
        }
    }

    #[test]
    fn a_key_is_used_as_it_is() {
        let key = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
        assert_eq!(
            block("x", &with_password(key)),
            format!(
                "network={{\n\tssid=78\n\tproto=RSN\n\tkey_mgmt=WPA-PSK\n\
                 \tieee80211w=1\n\tpsk={key}\n}}\n"
            )
        );
    }

    #[test]
    fn a_hidden_network_is_asked_for() {
        assert_eq!(
            rendered(r#"{"networks": {"x": {"hidden": true}}}"#),
            "p2p_disabled=1\nnetwork={\n\tssid=78\n\tscan_ssid=1\n\tkey_mgmt=NONE\n}\n"
        );
    }
}
