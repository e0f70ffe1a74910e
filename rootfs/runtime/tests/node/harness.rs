//! A node of its own for a test: the runtime with a real OCI runtime and
//! services whose root is busybox, in a mount namespace with a cgroup
//! hierarchy.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rubus_service::{
    Identity, Service,
    oci::Config,
    status::{LogLine, State, Status},
};

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails where these tests cannot run, with what is missing: a test that did
/// nothing must not look passed.
fn needs() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests start containers, which needs root; tests/run does without them where \
         RUBUS_TESTS_WITHOUT_ROOT=1 is set"
    );
    for (program, package) in [
        ("/usr/bin/crun", "crun"),
        ("/usr/bin/unshare", "util-linux"),
        ("/bin/busybox", "busybox-static"),
    ] {
        assert!(
            Path::new(program).exists(),
            "these tests need {program}; install it with `apt install {package}`"
        );
    }
    let fails = |what: &str| {
        let output = Command::new("/usr/bin/unshare")
            .args(["--mount", "/bin/sh", "-c", what])
            .output()
            .unwrap();
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    if let Some(why) = fails(SETUP) {
        panic!("these tests need a mount namespace with cgroup v2, which cannot be made: {why}");
    }
    // A root that holds nothing but busybox has no libraries.
    assert!(
        fails("ldd /bin/busybox").is_some(),
        "these tests need a static /bin/busybox; install it with `apt install busybox-static`"
    );
}

pub(crate) struct Node {
    folder: tempfile::TempDir,
    cgroup: String,
    names: Vec<String>,
    runtime: Option<Child>,
}

impl Node {
    pub(crate) fn new() -> Node {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static NEEDS: Once = Once::new();
        // Not passed over by the tests that follow one that failed here.
        NEEDS.call_once_force(|_| needs());
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Node {
            folder: tempfile::tempdir().unwrap(),
            cgroup: format!("/rubus-test-{}-{number}", std::process::id()),
            names: Vec::new(),
            runtime: None,
        }
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Where the node's name and time zone are said.
    pub(crate) fn etc(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    /// The program that takes settings back; tests write it.
    pub(crate) fn configure(&self) -> PathBuf {
        self.folder.path().join("configure")
    }

    /// Sets the settings of the node.
    pub(crate) fn write_config(&self, settings: &serde_json::Value) {
        fs::write(self.run_dir().join("config.json"), settings.to_string()).unwrap();
    }

    /// A folder that services see as `/shared`.
    pub(crate) fn shared(&self) -> PathBuf {
        let path = self.folder.path().join("shared");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// What stays over boots.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Forgets all that lies in memory, as a loss of power does.
    pub(crate) fn cut_power(&mut self) {
        if self.runtime.is_some() {
            self.kill_runtime();
        }
        self.remove_containers();
        fs::remove_dir_all(self.run_dir()).unwrap();
    }

    /// Adds a service that runs `script` by the shell; `rest` is more TOML.
    pub(crate) fn add(&mut self, name: &str, script: &str, rest: &str) {
        let bundle = self.folder.path().join("services").join(name);
        self.write_bundle(&bundle, name, script, rest);
        self.names.push(name.to_owned());
    }

    /// Adds a further variant of a service to the image.
    pub(crate) fn add_variant(&self, name: &str, variant: &str, script: &str, rest: &str) {
        let bundle = self.image_variant(name, variant);
        let rest = format!("variant = \"{variant}\"\n{rest}");
        self.write_bundle(&bundle, name, script, &rest);
    }

    /// Where a further variant of the image lies.
    pub(crate) fn image_variant(&self, name: &str, variant: &str) -> PathBuf {
        let service = self.folder.path().join("services").join(name);
        service.join("variants").join(variant)
    }

    /// Adds a variant of a service on the node.
    pub(crate) fn add_on_node(&self, name: &str, variant: &str, script: &str, rest: &str) {
        let bundle = self.state_dir().join("variants").join(name).join(variant);
        let rest = format!("variant = \"{variant}\"\n{rest}");
        self.write_bundle(&bundle, name, script, &rest);
    }

    /// Where services lie that are added on the node.
    pub(crate) fn own_services(&self) -> PathBuf {
        self.state_dir().join("services")
    }

    /// Begins a service on the node: it is not there before the runtime is
    /// asked to take it in.
    pub(crate) fn begin_own(&mut self, name: &str, script: &str, rest: &str) {
        let begun = self.own_services().join(rubus_service::own::begun(name));
        // What an exchange left there is deleted by whoever adds services.
        let _ = fs::remove_dir_all(&begun);
        self.write_bundle(&begun, name, script, rest);
        self.names.push(name.to_owned());
    }

    fn write_bundle(&self, bundle: &Path, name: &str, script: &str, rest: &str) {
        let default = |key: &str, line: &'static str| if rest.contains(key) { "" } else { line };
        let kind = default("kind =", "kind = \"daemon\"\n");
        // The shell as process 1 hears no signal that it has no trap for.
        let stop_timeout = default("stop_timeout =", "stop_timeout = \"500ms\"\n");
        let toml = format!(
            "description = \"test\"\n{kind}{stop_timeout}command = [\"/bin/sh\", \"-c\", '''{script}''']\nseccomp = \"unconfined\"\nmounts = [\"{}:/shared:rw\"]\n{rest}",
            self.shared().display()
        );
        let service = Service::parse(name, "service.toml", &toml).unwrap();
        let root = bundle.join("rootfs");
        for folder in ["bin", "proc", "sys", "dev", "run", "tmp", "shared", "etc"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in [
            "hostname",
            "hosts",
            "localtime",
            "machine-id",
            "resolv.conf",
        ] {
            fs::write(root.join("etc").join(file), "").unwrap();
        }
        fs::hard_link("/bin/busybox", root.join("bin/busybox"))
            .or_else(|_| fs::copy("/bin/busybox", root.join("bin/busybox")).map(drop))
            .unwrap();
        for applet in [
            "sh", "sleep", "cat", "true", "false", "touch", "kill", "nc", "httpd", "seq",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let mut config = Config::new(&service, &Identity::root());
        config.linux.cgroups_path = format!("{}/{name}", self.cgroup);
        if !config.root.readonly {
            let root = self.run_dir().join("roots").join(name);
            config.root.path = root.display().to_string();
        }
        // What a container on the test machine may lack the rights for: device
        // rules and raised limits need CAP_SYS_RESOURCE.
        config.linux.resources.devices.clear();
        config.process.rlimits.clear();
        config
            .process
            .capabilities
            .bounding
            .push("CAP_KILL".to_owned());
        fs::write(bundle.join("config.json"), config.to_json()).unwrap();
        fs::write(
            bundle.join("service.json"),
            serde_json::to_vec(&service).unwrap(),
        )
        .unwrap();
    }

    /// Starts the runtime and waits until it answers.
    pub(crate) fn boot(&mut self) {
        fs::create_dir_all(self.run_dir()).unwrap();
        fs::create_dir_all(self.etc()).unwrap();
        fs::create_dir_all(self.state_dir()).unwrap();
        let script = format!(
            "{SETUP} exec {} --services {} --run {} --state {} --oci-runtime /usr/bin/crun --configure {} --etc {} --cgroup /sys/fs/cgroup{}",
            env!("CARGO_BIN_EXE_system-runtime"),
            self.folder.path().join("services").display(),
            self.run_dir().display(),
            self.state_dir().display(),
            self.configure().display(),
            self.etc().display(),
            self.cgroup,
        );
        let _ = fs::remove_file(self.run_dir().join("runtime.sock"));
        let child = Command::new("/usr/bin/unshare")
            .args(["--mount", "--uts", "/bin/sh", "-c", &script])
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        self.runtime = Some(child);
        wait_for("the runtime answers", || {
            UnixStream::connect(self.run_dir().join("runtime.sock")).is_ok()
        });
    }

    pub(crate) fn runtime_pid(&self) -> u32 {
        self.runtime.as_ref().unwrap().id()
    }

    /// `kill -9` of the runtime.
    pub(crate) fn kill_runtime(&mut self) {
        let mut child = self.runtime.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the runtime to end by itself; its exit code.
    pub(crate) fn wait_runtime(&mut self) -> Option<i32> {
        let mut child = self.runtime.take().unwrap();
        let mut code = None;
        wait_for("the runtime ends", || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }

    /// One request; status and body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw_request(text.as_bytes())
    }

    pub(crate) fn raw_request(&self, request: &[u8]) -> (u16, String) {
        let mut stream = UnixStream::connect(self.run_dir().join("runtime.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    pub(crate) fn status(&self, name: &str) -> Status {
        let (status, body) = self.request("GET", &format!("/v1/services/{name}"), "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn wait_state(&self, name: &str, state: State) -> Status {
        let mut last = None;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let status = self.status(name);
            if status.state == state {
                return status;
            }
            last = Some(status);
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} is not {state:?}: {last:?}");
    }

    pub(crate) fn log(&self, name: &str) -> Vec<String> {
        let (_, body) = self.request("GET", &format!("/v1/services/{name}/logs"), "");
        body.lines()
            .map(|line| serde_json::from_str::<LogLine>(line).unwrap().text)
            .collect()
    }
}

/// A private hierarchy of mounts with cgroup v2 where the runtime expects it.
const SETUP: &str = "set -e; mount --make-rprivate /; \
    if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then \
    umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; fi;";

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.runtime.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.remove_containers();
    }
}

impl Node {
    fn remove_containers(&self) {
        let mut script = format!("{SETUP} set +e;");
        for name in &self.names {
            script.push_str(&format!(
                " crun --root {} delete --force {name} 2>/dev/null || true;",
                self.run_dir().join("crun").display()
            ));
        }
        script.push_str(&format!(
            " for it in /sys/fs/cgroup{0}/*/cgroup.kill; do echo 1 > $it; done 2>/dev/null; sleep 0.05; rmdir /sys/fs/cgroup{0}/* /sys/fs/cgroup{0} 2>/dev/null",
            self.cgroup
        ));
        let _ = Command::new("/usr/bin/unshare")
            .args(["--mount", "/bin/sh", "-c", &script])
            .status();
    }
}

/// Waits until something is so.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
