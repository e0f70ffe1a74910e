//! What a terminal shows above its login prompt. agetty puts in `\n` (name of
//! the node), `\l` (of the terminal) and `\4` (address), and shows it again when
//! the address changes.

/// The text for a node with so many ssh keys, where this many people have a
/// password.
pub(crate) fn text(keys: usize, passwords: usize) -> String {
    let mut text = String::from("\nRubus on \\n (\\l), address \\4\n\n");
    text.push_str(match (keys, passwords) {
        (0, 0) => {
            "Nobody can log in: this node has no ssh key, and there is no default password.\n\
             Add a key of yours: put the card into a computer, and write into the file\n\
             user-data on its first partition\n\n    \
             #cloud-config\n    \
             ssh_authorized_keys: [\"ssh-ed25519 AAAA... you@home\"]\n\n\
             Or build the image with one: rubus build --ssh-key ~/.ssh/id_ed25519.pub\n\n"
        }
        (0, _) => "",
        (_, 0) => {
            "Log in with your ssh key: ssh rubus@\\n.local\n\
             No password is set, so logging in here is not possible.\n\n"
        }
        _ => "Log in here, or with your ssh key: ssh \\n.local\n\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_node_without_a_key_says_how_to_add_one() {
        let text = text(0, 0);
        assert!(text.contains("no ssh key"));
        assert!(text.contains("user-data"));
        assert!(text.contains("--ssh-key"));
    }

    #[test]
    fn a_node_with_a_key_says_how_to_reach_it() {
        let text = text(1, 0);
        assert!(text.contains("ssh rubus@\\n.local"));
        assert!(text.contains("\\4"));
        assert!(!text.contains("no ssh key"));
    }

    #[test]
    fn where_somebody_has_a_password_one_can_log_in_here() {
        assert!(!text(1, 1).contains("not possible"));
        assert!(!text(0, 1).contains("Nobody"));
    }
}
