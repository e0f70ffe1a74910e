//! What Tab offers in bash, by the script that `ros completions bash` prints.

#[allow(dead_code, reason = "each file of tests uses its part")]
mod node;

use std::process::Command;

use node::Node;

/// Completes the words that it gets, as bash does at the end of a line.
const TAB: &str = r#"
ros() { "$ROS" --socket "$SOCKET" --host "$NODE" "$@"; }
source <(ros completions bash)
spec=$(complete -p ros)
spec=${spec##*-F }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"${spec%% *}" ros "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// What the last word may become; words as they are typed.
fn tab(node: &Node, words: &[&str]) -> Vec<String> {
    let output = Command::new("bash")
        .args(["--norc", "-c", TAB, "bash", "ros"])
        .args(words)
        .env("ROS", env!("CARGO_BIN_EXE_ros"))
        .env("SOCKET", node.path("socket"))
        .env("NODE", node.path(""))
        .output()
        .unwrap();
    assert_eq!(node::stderr(&output), "", "{words:?}");
    let text = node::stdout(&output);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn commands_are_offered_but_hidden_ones() {
    let node = Node::usual();
    let found = tab(&node, &["co"]);
    assert_eq!(found, ["config", "console", "completions"]);
    assert_eq!(
        tab(&node, &["config", "set", "--"]),
        ["--dry-run", "--try", "--json", "--help"]
    );
}

#[test]
fn keys_values_and_names_are_offered() {
    let node = Node::usual();
    node.write("run/rubus/config.json", "{}");
    for (words, expected) in [
        (
            &["config", "set", "net"][..],
            &[
                "network.dns",
                "network.interfaces",
                "network.interfaces.",
                "network.search",
                "network.wifi.country",
                "network.wifi.networks",
                "network.wifi.networks.",
            ][..],
        ),
        (
            &["config", "get", "ssh.pass"],
            &["ssh.password_authentication"],
        ),
        (
            &["config", "set", "ssh.password_authentication", ""],
            &["false", "true"],
        ),
        (
            &["config", "set", "users.anna.sudo", "w"],
            &["with-password", "without-password"],
        ),
        (&["service", "restart", "nt"], &["ntp"]),
    ] {
        assert_eq!(tab(&node, words), expected, "{words:?}");
    }
}

#[test]
fn names_that_mean_something_to_the_shell_are_escaped() {
    let node = Node::usual();
    node.write(
        "usr/share/rubus/config.toml",
        "[network.wifi.networks.\"my home\"]\nhidden = true\n",
    );
    let name = r#"network.wifi.networks.\"my\ home\""#;
    assert_eq!(
        tab(&node, &["config", "set", "network.wifi.networks."]),
        [name.to_owned(), format!("{name}.")]
    );
    assert_eq!(
        tab(&node, &["config", "set", &format!("{name}.p")]),
        [format!("{name}.password")]
    );
}
