//! What a terminal shows above its login prompt. agetty puts in `\n` (name of
//! the node), `\l` (of the terminal) and `\4` (address), and shows it again when
//! the address changes.

use crate::access::Access;

/// The text for a node with these keys.
pub(crate) fn text(access: &Access) -> String {
    let mut text = String::from("\nRubus on \\n (\\l), address \\4\n\n");
    text.push_str(match access.count {
        0 => {
            "Nobody can log in: this node has no ssh key, and there is no default password.\n\
             Build the image with a key of yours, and write it again:\n\n    \
             rubus build --board BOARD --ssh-key ~/.ssh/id_ed25519.pub\n\n"
        }
        _ => {
            "Log in with your ssh key: ssh rubus@\\n.local\n\
             No password is set, so logging in here is not possible.\n\n"
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::access::tests::with_keys;

    #[test]
    fn a_node_without_a_key_says_how_to_add_one() {
        let text = text(&with_keys(&[]));
        assert!(text.contains("rubus build --board BOARD --ssh-key"));
        assert!(text.contains("no ssh key"));
    }

    #[test]
    fn a_node_with_a_key_says_how_to_reach_it() {
        let text = text(&with_keys(&["ssh-ed25519 AAAA"]));
        assert!(text.contains("ssh rubus@\\n.local"));
        assert!(text.contains("\\4"));
        assert!(!text.contains("no ssh key"));
    }
}
