use super::*;
use serde_json::json;

struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> (Self, Node) {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::new(folder.path());
        let it = Self(folder);
        fs::create_dir_all(node.inside(paths::RUN)).unwrap();
        it.write(
            "usr/share/rubus/config.toml",
            "hostname = \"image\"\nssh.port = 23\n",
        );
        let service =
            "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\nsettings = [\"ssh\"]";
        let service = Service::parse("console", "f", service).unwrap();
        it.write(
            "usr/lib/rubus/services/console/service.json",
            &serde_json::to_string(&service).unwrap(),
        );
        (it, node)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn rendered(node: &Node) -> Value {
    serde_json::from_slice(&fs::read(node.inside(paths::CONFIG)).unwrap()).unwrap()
}

#[test]
fn services_look_where_their_settings_are_put() {
    use rubus_service::mounts;
    assert_eq!(paths::SETTINGS, mounts::SETTINGS);
    assert_eq!(
        paths::OWN_SETTINGS,
        format!("{}/{}", mounts::SETTINGS_INSIDE, view::FILE)
    );
}

#[test]
fn a_change_is_stored_rendered_and_told() {
    let (_folders, node) = Folders::new();
    let schema = Schema::default();
    let set = |key: &str, value: &str, trial| {
        node.change(&schema, trial, |it| it.set(key, &[value.to_owned()]))
    };
    let effects = set("ssh.port", "24", true).unwrap();
    assert_eq!(
        (&effects.changed[..], &effects.restart[..]),
        (&["ssh.port".to_owned()][..], &["console".to_owned()][..])
    );
    assert!(!node.inside(paths::USER_CONFIG_FOLDER).exists());

    assert_eq!(set("ssh.port", "24", false).unwrap(), effects);
    assert_eq!(rendered(&node)["ssh"]["port"], 24);
    assert_eq!(rendered(&node)["hostname"], "image");
    let shown = fs::read(node.inside("/run/rubus/settings/console/settings.json")).unwrap();
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["ssh"]["port"], 24);
    assert_eq!(shown.get("hostname"), None, "it sees what it names only");
    let loaded = node.load(&schema);
    assert_eq!(loaded.layer, json!({"ssh": {"port": 24}}));
    assert!(loaded.merged.problems.is_empty());
    assert_eq!(loaded.files.len(), 2);

    assert!(set("ssh.port", "0", false).is_err());
    assert_eq!(node.load(&schema).layer, json!({"ssh": {"port": 24}}));
    node.change(&schema, false, |it| it.unset("ssh.port"))
        .unwrap();
    assert_eq!(rendered(&node)["ssh"]["port"], 23);
}

#[test]
fn services_that_were_added_have_their_part_in_changes() {
    let (folders, node) = Folders::new();
    let schema = Schema::default();
    let text = "description = \"d\"\nkind = \"daemon\"\nimage = \"x\"\ncommand = [\"c\"]\n\
                settings = [\"ntp\", \"hostname\"]\nafter = [\"gone\"]";
    let mine = Service::parse_own("mine", "f", text).unwrap();
    let definition = serde_json::to_string(&mine).unwrap();
    // Whoever is not root can give files to nobody else.
    let user = std::os::unix::fs::MetadataExt::uid(&fs::metadata(folders.0.path()).unwrap());
    for name in ["mine", ".other.new", "console"] {
        folders.write(
            &format!("var/lib/rubus/services/{name}/service.json"),
            &definition,
        );
        folders.write(
            &format!("var/lib/rubus/services/{name}/config.json"),
            &json!({"process": {"user": {"uid": user, "gid": 0}}}).to_string(),
        );
    }
    folders.write("var/lib/rubus/services/broken/service.json", "{");
    let names: Vec<_> = node.services().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["console", "mine"]);
    assert_eq!(node.services()[0].settings, ["ssh"], "that of the image");

    node.introduce(&schema, &mine, user).unwrap();
    let shown = node.inside("/run/rubus/settings/mine/settings.json");
    let seen = || -> Value { serde_json::from_slice(&fs::read(&shown).unwrap()).unwrap() };
    assert_eq!(seen()["hostname"], "image");
    assert_eq!(seen().get("ssh"), None);

    let change = |key: &str, value: &str| {
        node.change(&schema, false, |it| it.set(key, &[value.to_owned()]))
            .unwrap()
    };
    assert_eq!(change("hostname", "other").restart, ["mine"]);
    assert_eq!(seen()["hostname"], "other");
    assert_eq!(change("services.mine", "false").stop, ["mine"]);
    assert_eq!(change("services.mine", "true").start, ["mine"]);
}

#[test]
fn every_layer_counts_and_the_one_of_the_node_wins() {
    let (_folders, node) = Folders::new();
    let record = FirstBoot {
        instance: "i-1".to_owned(),
        settings: json!({"hostname": "first", "timezone": "Europe/Berlin"}),
        ..FirstBoot::default()
    };
    node.keep_first_boot(&record).unwrap();
    assert_eq!(node.first_boot().unwrap().unwrap().1, record);
    let schema = Schema::default();
    node.change(&schema, false, |it| {
        it.set("hostname", &["mine".to_owned()])
    })
    .unwrap();
    let settings = node.load(&schema).merged.settings;
    assert_eq!(settings.hostname.unwrap().as_str(), "mine");
    assert_eq!(settings.timezone.as_str(), "Europe/Berlin");
    assert_eq!(settings.ssh.port.get(), 23);
}

#[test]
fn broken_files_are_named_and_the_rest_counts() {
    let (folders, node) = Folders::new();
    let schema = Schema::default();
    folders.write("var/lib/rubus/config/config.toml", "hostname = \n# end\n");
    folders.write("var/lib/rubus/config/first-boot.toml", "instance = \"x\"");
    let loaded = node.load(&schema);
    assert_eq!(loaded.merged.settings.hostname.unwrap().as_str(), "image");
    let problems: Vec<String> = loaded
        .merged
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("/var/lib/rubus/config/first-boot.toml: cannot be read"));
    assert!(problems[1].starts_with("/var/lib/rubus/config/config.toml:1: "));

    // A change must not replace what a person can still repair.
    let set = |it: &Editor<'_>| it.set("ssh.port", &["24".to_owned()]);
    let error = node.change(&schema, false, set).unwrap_err().to_string();
    assert!(
        error.starts_with("/var/lib/rubus/config/config.toml:1: "),
        "{error}"
    );

    folders.write("usr/share/rubus/config.toml", "hostnam = \"x\"");
    let loaded = node.load(&schema);
    assert_eq!(loaded.merged.settings, Settings::default());
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    let (_folders, node) = Folders::new();
    let schema = &Schema::default();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let node = &node;
            scope.spawn(move || {
                let key = format!("services.s{i}");
                node.change(schema, false, |it| it.set(&key, &["true".to_owned()]))
                    .unwrap();
            });
        }
    });
    assert_eq!(node.load(schema).merged.settings.services.len(), 8);
}

/// A node with a trial of another port, that ends at second 60.
fn on_trial() -> (Folders, Node, Schema) {
    let (folders, node) = Folders::new();
    let schema = Schema::default();
    set(&node, "ssh.port", "24").unwrap();
    let effects = try_set(&node, "ssh.port", "25", || Ok(())).unwrap();
    assert_eq!(effects.restart, ["console"]);
    (folders, node, schema)
}

fn set(node: &Node, key: &str, value: &str) -> Result<Effects, ChangeError> {
    node.change(&Schema::default(), false, |it| {
        it.set(key, &[value.to_owned()])
    })
}

fn try_set(
    node: &Node,
    key: &str,
    value: &str,
    watch: impl FnOnce() -> Result<(), String>,
) -> Result<Effects, ChangeError> {
    let edit = |it: &Editor<'_>| it.set(key, &[value.to_owned()]);
    node.try_change(&Schema::default(), 60_000_000, edit, watch)
}

/// What a boot would find.
fn stored_port(node: &Node) -> u16 {
    let stored = node.load_with(&Schema::default(), Ok(None));
    stored.merged.settings.ssh.port.get()
}

#[test]
fn settings_on_trial_count_and_are_not_stored() {
    let (_folders, node, schema) = on_trial();
    assert_eq!(rendered(&node)["ssh"]["port"], 25);
    let loaded = node.load(&schema);
    assert_eq!(loaded.merged.settings.ssh.port.get(), 25);
    let trial = loaded.trial.unwrap();
    assert_eq!(trial.keys, ["ssh.port"]);
    assert_eq!(trial.seconds_left(18_500_000), 42);
    assert_eq!(trial.seconds_left(61_000_000), 0);
    assert_eq!(stored_port(&node), 24);
    // A boot begins with an empty memory.
    fs::remove_dir_all(node.inside(paths::RUN)).unwrap();
    assert_eq!(node.load(&schema).merged.settings.ssh.port.get(), 24);
}

#[test]
fn a_trial_that_is_confirmed_is_stored() {
    let (_folders, node, schema) = on_trial();
    assert_eq!(node.confirm().unwrap().keys, ["ssh.port"]);
    assert_eq!(stored_port(&node), 25);
    node.expire(&schema, 99_000_000).unwrap();
    assert_eq!(rendered(&node)["ssh"]["port"], 25);
    let error = node.confirm().unwrap_err().to_string();
    assert!(error.starts_with("no settings are on trial"), "{error}");
}

#[test]
fn a_trial_that_is_reverted_leaves_the_old_settings() {
    let (_folders, node, schema) = on_trial();
    let effects = node.revert(&schema).unwrap();
    assert_eq!(effects.restart, ["console"]);
    assert_eq!(rendered(&node)["ssh"]["port"], 24);
    assert!(!node.inside(paths::TRIAL).exists());
    assert!(matches!(node.revert(&schema), Err(ChangeError::NotOnTrial)));
}

#[test]
fn a_trial_ends_when_its_time_is_over_and_not_before() {
    let (_folders, node, schema) = on_trial();
    node.expire(&schema, 59_999_999).unwrap();
    assert_eq!(rendered(&node)["ssh"]["port"], 25);
    node.expire(&schema, 60_000_000).unwrap();
    assert_eq!(rendered(&node)["ssh"]["port"], 24);
    assert_eq!(node.load(&schema).merged.settings.ssh.port.get(), 24);
    // What is left to do stays written down until the runtime has done it.
    let left = fs::read(node.inside(paths::TRIAL)).unwrap();
    let left: Trial = serde_json::from_slice(&left).unwrap();
    assert_eq!(left.taken_back.unwrap().restart, ["console"]);
    assert!(matches!(node.confirm(), Err(ChangeError::NotOnTrial)));
    // A second look changes nothing.
    let before = fs::read(node.inside(paths::TRIAL)).unwrap();
    node.expire(&schema, 61_000_000).unwrap();
    assert_eq!(fs::read(node.inside(paths::TRIAL)).unwrap(), before);
}

#[test]
fn one_trial_at_a_time_and_no_change_beside_it() {
    let (_folders, node, schema) = on_trial();
    for refused in [
        set(&node, "ntp.servers", "a"),
        try_set(&node, "ntp.servers", "a", || Ok(())),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(
            error.starts_with("settings are on trial (ssh.port)"),
            "{error}"
        );
    }
    node.revert(&schema).unwrap();
    set(&node, "ntp.servers", "a").unwrap();
}

#[test]
fn what_nobody_would_take_back_is_not_tried() {
    let (_folders, node) = Folders::new();
    let refuse = || Err("system-runtime does not run".to_owned());
    let error = try_set(&node, "ssh.port", "25", refuse).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("system-runtime does not run; nothing was changed")
    );
    assert!(!node.inside(paths::TRIAL).exists());
    assert!(!node.inside(paths::CONFIG).exists());

    let error = try_set(&node, "kernel.modules", "loop", || Ok(())).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("kernel.modules counts from the next boot")
    );
    // What changes nothing is no trial.
    try_set(&node, "ssh.port", "23", || Err("asked".to_owned())).unwrap();
}

#[test]
fn the_runtime_is_told_of_a_trial_before_services_see_it() {
    let (_folders, node) = Folders::new();
    set(&node, "ssh.port", "24").unwrap();
    try_set(&node, "ssh.port", "25", || {
        assert_eq!(node.trial().unwrap().unwrap().keys, ["ssh.port"]);
        assert_eq!(rendered(&node)["ssh"]["port"], 24);
        Ok(())
    })
    .unwrap();
    assert_eq!(rendered(&node)["ssh"]["port"], 25);
}

#[test]
fn a_trial_that_cannot_be_shown_to_all_is_shown_to_nobody() {
    let (_folders, node) = Folders::new();
    set(&node, "ssh.port", "24").unwrap();
    let of_console = node.inside("/run/rubus/settings/console/settings.json");
    fs::remove_file(&of_console).unwrap();
    fs::create_dir(&of_console).unwrap();
    assert!(try_set(&node, "ssh.port", "25", || Ok(())).is_err());
    assert_eq!(rendered(&node)["ssh"]["port"], 24);
    assert_eq!(node.trial().unwrap(), None);
}

#[test]
fn a_damaged_trial_is_told_and_the_stored_settings_count() {
    let (folders, node) = Folders::new();
    set(&node, "ssh.port", "24").unwrap();
    folders.write("run/rubus/trial.json", "{\"layer\"");
    let loaded = node.load(&Schema::default());
    assert_eq!(loaded.merged.settings.ssh.port.get(), 24);
    let problem = loaded.merged.problems[0].to_string();
    assert!(
        problem.starts_with("/run/rubus/trial.json: cannot be read"),
        "{problem}"
    );
}

#[test]
fn a_time_zone_must_be_one_of_the_image() {
    let (folders, node) = Folders::new();
    folders.write("usr/share/zoneinfo/Europe/Berlin", "");
    set(&node, "timezone", "Europe/Berlin").unwrap();
    for unknown in ["Europe/Berln", "Europe"] {
        let error = set(&node, "timezone", unknown).unwrap_err().to_string();
        assert!(error.starts_with("`timezone`: there is no"), "{error}");
    }
}
