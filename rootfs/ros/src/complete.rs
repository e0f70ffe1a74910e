//! What a script of completions asks while somebody types: the words that only
//! the node knows. Everything else is in the script.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use clap_complete::Shell;
use rubus_config::identity;
use rubus_config::keys::Schema;
use rubus_config::node::Node;
use serde_json::Value;

use crate::client::Client;
use crate::compose::Projects;
use crate::output::Output;

/// Verbs of `ros service` that take names of services.
const OF_SERVICES: [&str; 9] = [
    "start", "stop", "restart", "enable", "disable", "inspect", "logs", "exec", "remove",
];

/// What completions are made from.
trait Knows {
    /// Names of services.
    fn services(&self) -> Vec<String>;
    /// Names of the variants of a service.
    fn variants(&self, service: &str) -> Vec<String>;
    /// Names of time zones.
    fn zones(&self) -> Vec<String>;
    /// All settings.
    fn settings(&self) -> Value;
}

/// The node itself. What it does not tell is not completed.
struct Source<'a> {
    client: &'a Client,
    root: &'a Path,
    schema: &'a Schema,
}

impl Knows for Source<'_> {
    fn services(&self) -> Vec<String> {
        let system = self.client.services().unwrap_or_default();
        let compose = Projects::of(self.root).names().unwrap_or_default();
        let system = system.into_iter().map(|it| it.name);
        system.chain(compose.into_keys()).collect()
    }

    fn variants(&self, service: &str) -> Vec<String> {
        let found = self.client.variants(service);
        let all = found.map_or_else(|_| Vec::new(), |it| it.variants);
        all.into_iter().map(|it| it.name).collect()
    }

    fn zones(&self) -> Vec<String> {
        let folder = Node::new(self.root).inside(identity::ZONES);
        let mut zones = Vec::new();
        collect_zones(&folder, "", &mut zones);
        zones.sort_unstable();
        zones
    }

    fn settings(&self) -> Value {
        let merged = Node::new(self.root).load(self.schema).merged;
        merged.tree().unwrap_or_default()
    }
}

/// The hidden `ros complete`: prints what the last word may become, a line
/// each; nothing where the script knows better.
pub(crate) fn run(client: &Client, root: &Path, words: &[String], output: Output) -> Result<()> {
    let schema = Schema::default();
    let source = Source {
        client,
        root,
        schema: &schema,
    };
    let found = candidates(&schema, &source, words);
    let text: String = found.iter().map(|word| format!("{word}\n")).collect();
    Ok(output.text(&text)?)
}

/// The script of a shell. Where `ros` knows more than the script, it is asked.
pub(crate) fn script(shell: Shell, mut command: clap::Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "ros", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    script += match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => "",
    };
    script
}

// Names may have quotes and spaces in them (`network.wifi.networks."my home"`),
// which a shell wants escaped: words are asked about as `ros` would get them.

const BASH: &str = r#"
_ros_and_node() {
    local -a found words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    mapfile -t found < <(ros complete -- "${words[@]//\\/}" 2>/dev/null)
    if [[ ${#found[@]} -gt 0 ]]; then
        mapfile -t COMPREPLY < <(printf '%q\n' "${found[@]}")
    else
        _ros "$@"
    fi
}
complete -F _ros_and_node -o bashdefault -o default ros
"#;

const ZSH: &str = r#"
_ros_and_node() {
    local -a found
    found=(${(f)"$(ros complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then compadd -a found; else _ros "$@"; fi
}
compdef _ros_and_node ros
"#;

// Files are offered only where the node knows nothing.
const FISH: &str = r#"
function __ros_knows
    set -g __ros_found (ros complete -- (commandline -opc)[2..] (commandline -ct | string unescape) 2>/dev/null)
    test -n "$__ros_found"
end
complete -c ros -n __ros_knows -f -a '$__ros_found'
"#;

/// What the last of the words may become.
fn candidates(schema: &Schema, source: &impl Knows, words: &[String]) -> Vec<String> {
    let Some((begun, before)) = words.split_last() else {
        return Vec::new();
    };
    if begun.starts_with('-') {
        return Vec::new();
    }
    // `--try` has a value of its own; the other options have none.
    let mut plain = Vec::new();
    let mut rest = before.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            "--try" => drop(rest.next()),
            // What follows is a command of somebody else.
            "--" => return Vec::new(),
            option if option.starts_with('-') => {}
            word => plain.push(word),
        }
    }
    let words = match plain[..] {
        // The script of fish knows no words that are no commands.
        ["completions"] => shells(),
        ["logs"] => source.services(),
        ["service", "exec" | "inspect" | "logs", _, ..] => Vec::new(),
        ["service", verb, ..] if OF_SERVICES.contains(&verb) => source.services(),
        ["engine", "switch" | "enable" | "remove"] => source.variants("docker"),
        ["console", "switch" | "enable"] => source.variants("console"),
        ["config", "get" | "set" | "unset"] => keys(schema, source, begun),
        ["config", "set", key, ..] => values(schema, source, key),
        _ => Vec::new(),
    };
    let fits = |word: &String| word.starts_with(begun);
    words.into_iter().filter(fits).collect()
}

/// Keys, with the names that this node has in them.
fn keys(schema: &Schema, source: &impl Knows, begun: &str) -> Vec<String> {
    if begun.starts_with("services.") {
        let names = source.services().into_iter();
        return names.map(|name| format!("services.{name}")).collect();
    }
    schema.complete_key(begun, &source.settings())
}

fn shells() -> Vec<String> {
    let all = Shell::value_variants().iter();
    all.map(ToString::to_string).collect()
}

fn values(schema: &Schema, source: &impl Knows, key: &str) -> Vec<String> {
    if key == "timezone" {
        return source.zones();
    }
    match schema.find(key) {
        Ok((_, entry)) => entry.values(),
        Err(_) => Vec::new(),
    }
}

/// Zones of a folder, as `Europe/Berlin`. What is no zone begins with a small
/// letter or has a dot in its name.
fn collect_zones(folder: &Path, prefix: &str, zones: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|it| is_zone(it)) else {
            continue;
        };
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            collect_zones(&entry.path(), &format!("{path}/"), zones);
        } else {
            zones.push(path);
        }
    }
}

fn is_zone(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Played;

    impl Knows for Played {
        fn services(&self) -> Vec<String> {
            ["network", "nats", "ntp"].map(str::to_owned).into()
        }

        fn variants(&self, service: &str) -> Vec<String> {
            vec![format!("{service}-1"), format!("{service}-2")]
        }

        fn zones(&self) -> Vec<String> {
            ["Europe/Berlin", "UTC"].map(str::to_owned).into()
        }

        fn settings(&self) -> Value {
            json!({"users": {"anna": {}}})
        }
    }

    #[test]
    fn words_that_only_the_node_knows_are_completed() {
        for (line, expected) in [
            ("logs n", &["network", "nats", "ntp"][..]),
            ("service restart nt", &["ntp"]),
            ("service restart network nt", &["ntp"]),
            ("service disable --try 60s na", &["nats"]),
            ("service inspect ntp n", &[]),
            ("service exec ntp -- n", &[]),
            ("service list n", &[]),
            ("engine switch docker-2", &["docker-2"]),
            ("console enable --yes c", &["console-1", "console-2"]),
            ("engine switch docker-2 d", &[]),
            ("engine add d", &[]),
            ("config set timezone Eu", &["Europe/Berlin"]),
            ("config set --try 60s timezone U", &["UTC"]),
            ("config set services.na", &["services.nats"]),
            ("config set services.ntp ", &["false", "true"]),
            ("config set ssh.password_authentication t", &["true"]),
            (
                "config set users.anna.sudo with",
                &["with-password", "without-password"],
            ),
            ("config set users.an", &["users.anna", "users.anna."]),
            ("config unset us", &["users", "users."]),
            ("config get host", &["hostname"]),
            (
                "config get network.interfaces.eth0.m",
                &["network.interfaces.eth0.mtu"],
            ),
            ("config set ssh.port ", &[]),
            ("completions ba", &["bash"]),
            ("config set nonsense ", &[]),
            ("config set --d", &[]),
            ("co", &[]),
            ("", &[]),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let found = candidates(&Schema::default(), &Played, &words);
            assert_eq!(found, expected, "{line}");
        }
        assert!(candidates(&Schema::default(), &Played, &[]).is_empty());
    }

    #[test]
    fn zones_are_found_among_the_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let zones = folder.path().join("usr/share/zoneinfo");
        for file in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Salta",
            "posix/UTC",
            "zone.tab",
            "tzdata.zi",
            "leapseconds",
        ] {
            let path = zones.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let source = Source {
            client: &Client::new(Path::new("/nonexistent")),
            root: folder.path(),
            schema: &Schema::default(),
        };
        assert_eq!(
            source.zones(),
            ["America/Argentina/Salta", "Europe/Berlin", "UTC"]
        );
        assert!(source.services().is_empty());
    }
}
