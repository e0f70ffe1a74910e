//! Whether a function may run on the one node that there is: the constraints of
//! Docker's swarm mode, as far as they ask for what a node alone has.

use bollard::models::SystemInfo;

/// The first constraint that does not hold, if any.
pub(super) fn unmet<'a>(constraints: &'a [String], node: &SystemInfo) -> Option<&'a str> {
    let unmet = |text: &&String| !holds(text, node);
    constraints.iter().find(unmet).map(String::as_str)
}

/// Whether a constraint holds. One that cannot be understood, or asks for what
/// only a swarm has, does not.
fn holds(text: &str, node: &SystemInfo) -> bool {
    let (key, equal, value) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((key, value)), None) => (key, true, value),
        (None, Some((key, value))) => (key, false, value),
        _ => return false,
    };
    let fact = match key.trim() {
        "node.hostname" => node.name.as_deref(),
        "node.platform.os" => node.os_type.as_deref(),
        "node.platform.arch" => node.architecture.as_deref(),
        // A node alone is its own manager.
        "node.role" => Some("manager"),
        key => {
            let Some(label) = key.strip_prefix("engine.labels.") else {
                return false;
            };
            let labels = node.labels.iter().flatten();
            labels
                .filter_map(|it| it.split_once('='))
                .find_map(|(key, value)| (key == label).then_some(value))
        }
    };
    fact.is_some_and(|fact| fact.eq_ignore_ascii_case(value.trim())) == equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold_or_not() {
        let node = SystemInfo {
            name: Some("node1".to_owned()),
            os_type: Some("linux".to_owned()),
            architecture: Some("aarch64".to_owned()),
            labels: Some(vec!["place=attic".to_owned(), "odd".to_owned()]),
            ..SystemInfo::default()
        };
        for text in [
            "node.platform.os == linux",
            "node.platform.os==Linux",
            "node.hostname != node2",
            "node.platform.arch == aarch64",
            "node.role == manager",
            "engine.labels.place == attic",
            "engine.labels.none != x",
        ] {
            assert!(holds(text, &node), "{text}");
        }
        for text in [
            "node.hostname == node2",
            "node.hostname != node1",
            "node.role == worker",
            "engine.labels.place == cellar",
            "engine.labels.none == x",
            "node.labels.ssd == true",
            "node.labels.ssd != true",
            "node.hostname",
            "node.hostname == a != b",
            "",
        ] {
            assert!(!holds(text, &node), "{text}");
        }
        let all = ["node.role == manager", "node.hostname == x"].map(str::to_owned);
        assert_eq!(unmet(&all, &node), Some("node.hostname == x"));
        assert_eq!(unmet(&all[..1], &node), None);
    }
}
