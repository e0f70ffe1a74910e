//! A registry on this machine, with one image in it.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools::must;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A `docker-registry` on a port of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    host: String,
    folder: TempDir,
}

impl Registry {
    /// Starts an empty one.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The port is free again when the registry asks for it.
        let host = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .to_string();
        let config = json!({
            "version": "0.1",
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": folder.path().join("data") } },
            "http": { "addr": host },
        });
        // JSON is YAML.
        let path = folder.path().join("config.yml");
        fs::write(&path, config.to_string()).expect("a temporary file");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed by tests/setup");
        let start = Instant::now();
        while TcpStream::connect(&host).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "docker-registry does not answer"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            process,
            host,
            folder,
        }
    }

    /// The name by which a machine that QEMU emulates reaches it.
    pub fn host_for_guests(&self) -> String {
        let port = self.host.rsplit(':').next().unwrap_or_default();
        format!("10.0.2.2:{port}")
    }

    /// Pushes an image for two architectures, whose configuration and layers
    /// are the same but for a file `etc/arch`; each layer is a list of paths and
    /// contents. Returns the reference, by digest.
    ///
    /// # Panics
    /// When skopeo cannot push it.
    pub fn push(&self, name: &str, config: &Value, layers: &[&[(&str, &str)]]) -> String {
        let layout = Layout::new(self.folder.path().join(name));
        let manifests: Vec<Value> = ["amd64", "arm64"]
            .into_iter()
            .map(|architecture| layout.image(architecture, config, layers))
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let mut entry = layout.blob(index.to_string().as_bytes(), INDEX);
        let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "it" });
        layout.write(
            "index.json",
            &json!({ "schemaVersion": 2, "manifests": [entry] }),
        );
        layout.write("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }));
        must(
            Command::new("skopeo")
                .args(["copy", "--all", "--quiet", "--insecure-policy"])
                .args(["--dest-tls-verify=false", "--preserve-digests"])
                .arg(format!("oci:{}:it", layout.0.display()))
                .arg(format!("docker://{}/{name}:1", self.host)),
        );
        format!("{}/{name}@{digest}", self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder in the OCI image layout.
struct Layout(PathBuf);

impl Layout {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(folder.join("blobs/sha256")).expect("a temporary folder");
        Self(folder)
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.0.join(name), value.to_string()).expect("a temporary file");
    }

    /// Adds a blob; returns its descriptor.
    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let path = self.0.join("new");
        fs::write(&path, bytes).expect("a temporary file");
        let sum = sha256(&path);
        fs::rename(path, self.0.join("blobs/sha256").join(&sum)).expect("a temporary folder");
        json!({ "mediaType": media_type, "digest": format!("sha256:{sum}"), "size": bytes.len() })
    }

    fn image(&self, architecture: &str, config: &Value, layers: &[&[(&str, &str)]]) -> Value {
        let mut layers: Vec<Vec<(&str, &str)>> = layers.iter().map(|it| it.to_vec()).collect();
        layers[0].push(("etc/arch", architecture));
        let layers: Vec<Value> = layers
            .iter()
            .map(|files| self.blob(&tar(files), LAYER))
            .collect();
        let ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(config.to_string().as_bytes(), CONFIG),
            "layers": layers,
        });
        let mut entry = self.blob(manifest.to_string().as_bytes(), MANIFEST);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    }
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tar = folder.path().join("tar");
    let root = folder.path().join("root");
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&root)).expect("a temporary folder");
        fs::write(path, content).expect("a temporary file");
    }
    must(
        Command::new("tar")
            .args(["--create", "--sort=name", "--mtime=@0", "--format=gnu"])
            .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=0755"])
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(root)
            .arg("."),
    );
    fs::read(tar).expect("tar wrote it")
}

fn sha256(path: &Path) -> String {
    let text = must(Command::new("sha256sum").arg(path));
    text.split(' ').next().unwrap_or_default().to_owned()
}
