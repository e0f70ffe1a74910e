use super::*;

fn service(rest: &str) -> Service {
    let text =
        format!("description = \"d\"\nkind = \"daemon\"\ncommand = [\"/bin/d\", \"-f\"]\n{rest}");
    Service::parse("example", "service.toml", &text).unwrap()
}

fn config(rest: &str) -> Config {
    Config::new(&service(rest), &Identity::root())
}

fn mount<'a>(config: &'a Config, destination: &str) -> &'a Mount {
    config
        .mounts
        .iter()
        .find(|it| it.destination == destination)
        .unwrap_or_else(|| panic!("no mount on {destination}"))
}

fn namespaces(config: &Config) -> Vec<&str> {
    config
        .linux
        .namespaces
        .iter()
        .map(|it| it.kind.as_str())
        .collect()
}

#[test]
fn a_service_that_asks_for_nothing_may_do_nothing() {
    let config = config("");
    assert_eq!(config.process.args, ["/bin/d", "-f"]);
    assert_eq!(config.process.capabilities, CapabilitySets::default());
    assert!(config.process.no_new_privileges);
    assert!(config.root.readonly);
    assert_eq!(config.root.path, "rootfs");
    assert_eq!(
        namespaces(&config),
        ["mount", "pid", "network", "ipc", "cgroup"]
    );
    assert_eq!(config.linux.cgroups_path, "/rubus/example");
    assert!(config.linux.seccomp.is_some());
    assert!(!config.linux.resources.devices[0].allow);
    assert!(
        config
            .linux
            .masked_paths
            .iter()
            .any(|it| it == "/proc/kcore")
    );
    assert!(
        config
            .linux
            .readonly_paths
            .iter()
            .any(|it| it == "/proc/sys")
    );
    for path in ["/sys", "/sys/fs/cgroup"] {
        assert!(mount(&config, path).options.iter().any(|it| it == "ro"));
    }
    assert_eq!(mount(&config, "/dev").kind, "tmpfs");
    assert!(config.mounts.iter().all(|it| it.kind != "bind"));
    assert_eq!(config.linux.rootfs_propagation, None);
}

#[test]
fn the_same_service_gives_the_same_bytes() {
    let rest = "environment = { B = \"2\", A = \"1\" }\ncapabilities = [\"CAP_SYS_TIME\", \"CAP_CHOWN\"]\n";
    assert_eq!(config(rest).to_json(), config(rest).to_json());
    let config = config(rest);
    assert_eq!(config.process.env[2..], ["A=1", "B=2"]);
    assert_eq!(
        config.process.capabilities.bounding,
        ["CAP_CHOWN", "CAP_SYS_TIME"]
    );
    let json: Config = serde_json::from_str(&config.to_json()).unwrap();
    assert_eq!(json, config);
}

#[test]
fn the_names_in_the_json_are_those_of_the_specification() {
    let json: serde_json::Value = serde_json::from_str(&config("").to_json()).unwrap();
    assert!(json["ociVersion"].is_string());
    assert!(json["process"]["noNewPrivileges"].is_boolean());
    assert_eq!(json["process"]["rlimits"][0]["type"], "RLIMIT_NOFILE");
    assert_eq!(json["linux"]["cgroupsPath"], "/rubus/example");
    assert_eq!(json["linux"]["namespaces"][0]["type"], "mount");
    assert_eq!(json["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(json["mounts"][0]["type"], "proc");
}

#[test]
fn the_environment_of_the_definition_wins() {
    let config = config("environment = { PATH = \"/only\" }\n");
    assert_eq!(config.process.env, ["HOME=/root", "PATH=/only"]);
}

#[test]
fn a_user_keeps_its_capabilities_by_ambient_ones() {
    let identity = Identity {
        uid: 100,
        gid: 101,
        groups: vec![5],
        home: "/".to_owned(),
    };
    let service = service("capabilities = [\"CAP_SYS_TIME\"]\n");
    let process = Config::new(&service, &identity).process;
    assert_eq!((process.user.uid, process.user.gid), (100, 101));
    assert_eq!(process.user.additional_gids, [5]);
    assert_eq!(process.capabilities.ambient, ["CAP_SYS_TIME"]);
    assert_eq!(process.capabilities.inheritable, ["CAP_SYS_TIME"]);
    let root = Config::new(&service, &Identity::root()).process;
    assert!(root.capabilities.ambient.is_empty());
}

#[test]
fn the_network_of_the_node_comes_with_its_files() {
    let config = config("network = \"host\"\n");
    assert!(!namespaces(&config).contains(&"network"));
    let resolv = mount(&config, "/etc/resolv.conf");
    assert_eq!(
        (resolv.kind.as_str(), resolv.source.as_str()),
        ("bind", "/etc/resolv.conf")
    );
    assert!(resolv.options.iter().any(|it| it == "ro"));
}

#[test]
fn a_privileged_service_sees_the_node() {
    let config = config("privileged = true\npid = \"host\"\nnetwork = \"host\"\n");
    assert_eq!(namespaces(&config), ["mount"]);
    assert_eq!(config.process.capabilities.bounding.len(), 41);
    assert!(!config.process.no_new_privileges);
    assert!(config.linux.seccomp.is_none());
    assert!(config.linux.masked_paths.is_empty() && config.linux.readonly_paths.is_empty());
    assert_eq!(mount(&config, "/dev").source, "/dev");
    assert!(!mount(&config, "/sys").options.iter().any(|it| it == "ro"));
    assert_eq!(config.linux.rootfs_propagation.as_deref(), Some("rslave"));
    assert_eq!(config.linux.resources.devices.len(), 1);
    assert!(config.linux.resources.devices[0].allow);
}

#[test]
fn shared_mounts_are_shared_with_the_node() {
    let config = config("mounts = [\"/data:/data:rw,rshared\"]\n");
    assert_eq!(config.linux.rootfs_propagation.as_deref(), Some("rshared"));
    assert_eq!(mount(&config, "/data").options, ["rbind", "rw", "rshared"]);
}

#[test]
fn a_bind_mount_is_read_only_unless_it_says_otherwise() {
    let config = config("mounts = [\"/a:/b\"]\n");
    assert_eq!(mount(&config, "/b").options, ["rbind", "ro"]);
}

#[test]
fn mounts_of_the_service_replace_standard_ones_and_come_parents_first() {
    let config = config(
        "mounts = [\"/run:/run:rw\", \"/x:/run/a/b\", \"/y:/run/a\"]\ntmpfs = [\"/dev:size=1M\"]\n",
    );
    let at = |path: &str| {
        let found: Vec<usize> = (0..config.mounts.len())
            .filter(|&it| config.mounts[it].destination == path)
            .collect();
        assert_eq!(found.len(), 1, "{path}");
        found[0]
    };
    assert_eq!(config.mounts[at("/run")].kind, "bind");
    assert!(at("/run") < at("/run/a") && at("/run/a") < at("/run/a/b"));
    assert!(at("/dev") < at("/dev/pts") && at("/dev") < at("/dev/shm"));
}

#[test]
fn devices_are_bound_and_allowed_as_far_as_asked() {
    let config = config("devices = [\"/dev/rtc0:r\", \"/dev/i2c-1\"]\n");
    assert_eq!(mount(&config, "/dev/rtc0").kind, "bind");
    let rule = config.linux.resources.devices.last().unwrap();
    assert!(rule.allow && rule.access == "rw");
}

#[test]
fn limits_reach_the_cgroup() {
    let resources =
        config("[limits]\nmemory = \"64M\"\npids = 9\ncpu_weight = 50\nopen_files = 99\n");
    assert_eq!(resources.process.rlimits[0].hard, 99);
    let resources = resources.linux.resources;
    let memory = resources.memory.unwrap();
    assert_eq!((memory.limit, memory.swap), (64 << 20, 64 << 20));
    assert_eq!(resources.pids.unwrap().limit, 9);
    assert_eq!(resources.unified["cpu.weight"], "50");
    assert_eq!(resources.unified["memory.oom.group"], "1");
}

#[test]
fn an_engine_is_not_killed_as_a_group() {
    let config = config("kill = \"main\"\n[limits]\nmemory = \"64M\"\n");
    assert!(config.linux.resources.unified.is_empty());
}

#[test]
fn a_writable_root_is_the_layer_that_the_runtime_mounts() {
    for kind in ["volatile", "kept"] {
        let config = config(&format!("root = \"{kind}\"\n"));
        assert_eq!(config.root.path, "/run/rubus/roots/example");
        assert!(!config.root.readonly);
    }
}

#[test]
fn mount_points_are_what_the_builder_has_to_make() {
    let service = service(
        "network = \"host\"\nmounts = [\"/usr/bin/ros:/usr/bin/ros\", \"/var/lib/rubus/a:/state:rw\", \"/run/rubus:/run/rubus\"]\n",
    );
    let points = mounts::mount_points(&service);
    let find = |path: &str| points.iter().find(|it| it.path == path);
    assert!(find("/usr/bin/ros").unwrap().is_file());
    assert!(find("/etc/hosts").unwrap().is_file());
    assert!(!find("/state").unwrap().is_file());
    assert!(!find("/proc").unwrap().is_file());
    assert_eq!(find("/run/rubus"), None, "made in the memory on /run");
    assert_eq!(find("/dev/pts"), None);
    assert_eq!(find("/sys/fs/cgroup"), None, "made by the kernel in /sys");
}

#[test]
fn sources_are_what_the_node_has_to_have_also_for_mounts_in_memory() {
    let service = service("mounts = [\"/run/udev:/run/udev\", \"/data/x:/state:rw\"]\n");
    let sources = mounts::sources(&service);
    let has = |source: &str| {
        sources
            .iter()
            .any(|it| it.source.as_deref() == Some(source))
    };
    assert!(has("/run/udev"));
    assert!(has("/data/x"));
}
