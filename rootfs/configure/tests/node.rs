//! `configure`, from outside.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        node.write("usr/share/rubus/config.toml", "hostname = \"image\"\n");
        fs::create_dir_all(node.path("run/rubus/first-boot")).unwrap();
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn card(&self, name: &str, text: &str) {
        self.write(&format!("run/rubus/first-boot/{name}"), text);
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_configure"))
            .args(args)
            .arg("--root")
            .arg(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Boots; the settings and the report.
    fn boot(&self) -> (Value, Value) {
        let output = self.run(&["boot"], "");
        assert!(output.status.success(), "{output:?}");
        let read = |name: &str| {
            let path = self.path(&format!("run/rubus/{name}"));
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
        };
        (read("config.json"), read("config-report.json"))
    }
}

#[test]
fn a_boot_without_files_has_the_settings_of_the_image() {
    let (settings, report) = Node::new().boot();
    assert_eq!(settings["hostname"], "image");
    assert_eq!(settings["ssh"]["port"], 22);
    assert_eq!(
        report,
        json!({"files": ["/usr/share/rubus/config.toml"], "problems": [], "unsupported": [], "notes": []})
    );
}

#[test]
fn first_boot_files_count_once_for_each_instance() {
    let node = Node::new();
    node.card("user-data", "#cloud-config\nhostname: one\ncolour: blue\n");
    node.card("meta-data", "instance-id: i-1\n");
    for _ in 0..2 {
        let (settings, report) = node.boot();
        assert_eq!(settings["hostname"], "one");
        assert_eq!(report["instance"], "i-1");
        assert_eq!(
            report["unsupported"][0],
            "user-data: `colour`: this is not supported"
        );
    }
    node.card("user-data", "#cloud-config\nhostname: two\n");
    let (settings, report) = node.boot();
    assert_eq!(settings["hostname"], "one");
    assert!(report["notes"][0].as_str().unwrap().contains("instance-id"));

    node.card("meta-data", "instance-id: i-2\n");
    assert_eq!(node.boot().0["hostname"], "two");
    // The files may go; what they brought stays.
    fs::remove_dir_all(node.path("run/rubus/first-boot")).unwrap();
    let (settings, report) = node.boot();
    assert_eq!(
        (&settings["hostname"], &report["instance"]),
        (&json!("two"), &json!("i-2"))
    );
}

#[test]
fn whatever_is_broken_is_told_and_the_node_boots() {
    let node = Node::new();
    node.card("user-data", "#cloud-config\nhostname: [\n");
    node.card("network-config", "\u{0}\u{1}\u{2}");
    node.write("var/lib/rubus/config/config.toml", "hostname = \"half");
    let (settings, report) = node.boot();
    assert_eq!(settings["hostname"], "image");
    assert_eq!(
        report["unsupported"].as_array().unwrap().len(),
        2,
        "{report}"
    );
    assert!(
        report["problems"][0]
            .as_str()
            .unwrap()
            .starts_with("/var/lib/rubus/config/config.toml: "),
        "{report}"
    );

    // Folders where files should be, and an image without settings.
    let node = Node::new();
    node.write("usr/share/rubus/config.toml", "\u{0}");
    fs::create_dir_all(node.path("run/rubus/first-boot/user-data")).unwrap();
    let (settings, report) = node.boot();
    assert_eq!(settings["timezone"], "UTC");
    assert_eq!(report["problems"].as_array().unwrap().len(), 2, "{report}");
}

#[test]
fn a_first_boot_that_cannot_be_kept_counts_all_the_same() {
    let node = Node::new();
    node.card("user-data", "#cloud-config\nhostname: one\n");
    // In place of the folder.
    node.write("var/lib/rubus/config", "");
    let (settings, report) = node.boot();
    assert_eq!(settings["hostname"], "one");
    assert!(
        report["problems"].to_string().contains("cannot be kept"),
        "{report}"
    );
}

#[test]
fn a_layer_is_applied_or_refused_as_a_whole() {
    let node = Node::new();
    let request = r#"{"layer": {"hostname": "mine", "watchdog": {"timeout": 10}}}"#;
    for args in [&["apply", "--dry-run"][..], &["apply"]] {
        let output = node.run(args, request);
        assert!(output.status.success(), "{output:?}");
        let effects: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(effects["changed"], json!(["hostname", "watchdog.timeout"]));
        assert_eq!(effects["reboot"], json!(["watchdog.timeout"]));
        let kept = node.path("var/lib/rubus/config/config.toml").exists();
        assert_eq!(kept, args.len() == 1);
    }
    assert_eq!(node.boot().0["hostname"], "mine");
    for (request, words) in [
        ("", "not as in"),
        (r#"{"layer": {"hostname": "a b"}}"#, "not a host name"),
        (r#"{"layer": 5}"#, "a number"),
        (r#"{"layers": {}}"#, "not as in"),
    ] {
        let output = node.run(&["apply"], request);
        assert_eq!(output.status.code(), Some(1), "{request}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("configure: ") && said.contains(words),
            "{said}"
        );
    }
    assert_eq!(node.boot().0["hostname"], "mine");
}

#[test]
fn settings_whose_trial_is_over_are_taken_back() {
    let node = Node::new();
    node.boot();
    node.write(
        "run/rubus/trial.json",
        r#"{"layer": {"hostname": "tried"}, "keys": ["hostname"], "ends_us": 1}"#,
    );
    let output = node.run(&["expire"], "");
    assert!(output.status.success(), "{output:?}");
    let left = fs::read(node.path("run/rubus/trial.json")).unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    assert_eq!(left["taken_back"]["changed"], json!(["hostname"]));
    // Nothing to do, nothing done.
    fs::remove_file(node.path("run/rubus/trial.json")).unwrap();
    assert!(node.run(&["expire"], "").status.success());
}
