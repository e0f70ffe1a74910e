//! The functions that an image carries: from `functions/NAME.toml` to one
//! archive that an engine loads without a registry.
//!
//! Every function is an image of layers that all of them share (what Debian
//! packages hold, then the watchdog) and, where it has files, one of its own.
//! Each layer is in the archive once, uncompressed: the squashfs around it
//! compresses better.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path},
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    digest::Digest,
    tree::{Content, Kind, Node, Tree},
};

/// The user and group that functions run as.
const UID: u32 = 100;
const GID: u32 = 101;

/// Names of busybox that functions call.
const APPLETS: [&str; 32] = [
    "awk",
    "base64",
    "cat",
    "cut",
    "date",
    "df",
    "echo",
    "env",
    "expr",
    "free",
    "grep",
    "gzip",
    "head",
    "hostname",
    "ls",
    "md5sum",
    "nproc",
    "printf",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "tail",
    "tee",
    "tr",
    "true",
    "uname",
    "uniq",
    "uptime",
    "wc",
];

/// Parts of a Debian package that a function has no use for.
const LEFT_OUT: [&str; 5] = [
    "usr/share/bug/",
    "usr/share/initramfs-tools/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
];

/// One function, as `functions/NAME.toml` defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The name: that of its file.
    pub name: String,
    /// One line that says what it does.
    pub description: String,
    /// The program and its arguments, split on spaces by the watchdog.
    pub process: String,
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Labels of the deployed function.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the deployed function.
    pub annotations: BTreeMap<String, String>,
    /// Files of its own, path in the image to content.
    pub files: BTreeMap<String, Content>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    description: String,
    process: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// Reads every `NAME.toml` of a folder, in the order of the names.
///
/// # Errors
/// When a definition cannot be read or says something impossible; the message
/// names the file and the key.
pub fn load(folder: &Path) -> Result<Vec<Definition>> {
    let mut names = BTreeSet::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".toml")) {
            names.insert(name.to_owned());
        }
    }
    names
        .into_iter()
        .map(|name| {
            let path = folder.join(format!("{name}.toml"));
            read(&name, &path, folder).with_context(|| format!("in {}", path.display()))
        })
        .collect()
}

fn read(name: &str, path: &Path, folder: &Path) -> Result<Definition> {
    ensure!(
        is_label(name),
        "\"{name}\" cannot be the name of a function: use at most 63 of a-z, 0-9 and \"-\", with a letter or digit at both ends"
    );
    let raw: Raw = toml::from_str(&fs::read_to_string(path)?)?;
    ensure!(
        !raw.process.is_empty() && !raw.process.starts_with(' '),
        "process: names no program"
    );
    for key in raw.environment.keys() {
        ensure!(
            !key.is_empty() && !key.contains(['=', '\0']) && key != "fprocess",
            "environment: \"{key}\" cannot be the name of a variable (the process has its own key)"
        );
    }
    let mut files = BTreeMap::new();
    for (target, source) in raw.files {
        let inside = Path::new(&source)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            inside,
            "files: \"{source}\" is not below the folder of the functions"
        );
        let content = fs::read(folder.join(&source))
            .with_context(|| format!("files: cannot read \"{source}\""))?;
        // Says now, with the file's name, what putting it into a layer would.
        Tree::new()
            .insert(&target, Node::directory(0o755))
            .with_context(|| format!("files: \"{target}\" is no path in the image"))?;
        files.insert(target, content.into());
    }
    Ok(Definition {
        name: name.to_owned(),
        description: raw.description,
        process: raw.process,
        environment: raw.environment,
        labels: raw.labels,
        annotations: raw.annotations,
        files,
    })
}

/// Whether a name is a label of RFC 1035, but for a digit at its beginning.
fn is_label(name: &str) -> bool {
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// Makes `images.tar`, which an engine loads, and `functions.json`, which the
/// gateway deploys from. `base` is what the Debian packages of the functions
/// hold, among it busybox; `watchdog` is `fwatchdog` for arm64; `timestamp`, in
/// seconds since 1970, is given to every file.
///
/// # Errors
/// When there is no busybox in `base`, a function's file does not fit into the
/// image, or a cached file cannot be read.
pub fn images(
    definitions: &[Definition],
    base: &Tree,
    watchdog: Content,
    timestamp: u64,
) -> Result<Tree> {
    let mut archive = Archive::new(timestamp);
    let base = archive.layer("Debian packages", &base_layer(base)?)?;
    let mut tree = Tree::new();
    tree.insert("usr/bin/fwatchdog", Node::file(0o755, watchdog))?;
    let watchdog = archive.layer("watchdog", &tree)?;

    let mut deployments = Vec::new();
    for definition in definitions {
        let mut layers = vec![base.clone(), watchdog.clone()];
        if !definition.files.is_empty() {
            let mut tree = Tree::new();
            for (path, content) in &definition.files {
                tree.insert(path, Node::file(0o755, content.clone()))
                    .with_context(|| format!("function {}", definition.name))?;
            }
            layers.push(archive.layer(&definition.name, &tree)?);
        }
        archive.image(definition, &layers)?;
        deployments.push(deployment(definition));
    }

    let mut tree = Tree::new();
    tree.insert("images.tar", Node::file(0o644, archive.finish()?))?;
    let list = serde_json::to_vec_pretty(&deployments)?;
    tree.insert("functions.json", Node::file(0o644, list))?;
    Ok(tree)
}

/// The reference of a function's image.
fn reference(name: &str) -> String {
    format!("rubus/{name}:{}", env!("CARGO_PKG_VERSION"))
}

/// A function as the body of a deployment. It may be scaled to zero, so that a
/// node which never calls it spends no memory on it.
fn deployment(definition: &Definition) -> Value {
    let mut labels = definition.labels.clone();
    labels
        .entry("com.openfaas.scale.zero".to_owned())
        .or_insert_with(|| "true".to_owned());
    let mut annotations = definition.annotations.clone();
    annotations
        .entry("description".to_owned())
        .or_insert_with(|| definition.description.clone());
    json!({
        "service": definition.name,
        "image": reference(&definition.name),
        "labels": labels,
        "annotations": annotations,
        "readOnlyRootFilesystem": true,
    })
}

/// The layer that all functions share: packages with merged `/usr`, the names of
/// busybox, the user, and a `/tmp` to write to.
fn base_layer(packages: &Tree) -> Result<Tree> {
    let mut layer = Tree::new();
    for folder in ["bin", "lib", "sbin"] {
        layer.insert(&format!("usr/{folder}"), Node::directory(0o755))?;
        layer.insert(folder, Node::symlink(format!("usr/{folder}")))?;
    }
    for (path, node) in packages.iter() {
        let below = format!("{path}/");
        let documentation = below.starts_with("usr/share/doc/")
            && !node.is_directory()
            && !path.ends_with("/copyright");
        if documentation || LEFT_OUT.iter().any(|left| below.starts_with(left)) {
            continue;
        }
        let (top, rest) = path.split_once('/').unwrap_or((path, ""));
        match (top, rest) {
            ("bin" | "lib" | "sbin", "") => {}
            ("bin" | "lib" | "sbin", rest) => {
                layer.insert(&format!("usr/{top}/{rest}"), node.clone())?;
            }
            _ => layer.insert(path, node.clone())?,
        }
    }
    ensure!(
        layer.get("usr/bin/busybox").is_some(),
        "the packages for functions hold no busybox; name \"busybox-static\" among them"
    );
    for applet in APPLETS {
        let path = format!("usr/bin/{applet}");
        if layer.get(&path).is_none() {
            layer.insert(&path, Node::symlink("busybox"))?;
        }
    }
    layer.insert(
        "etc/passwd",
        Node::file(
            0o644,
            format!(
                "root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:{UID}:{GID}::/home/app:/bin/sh\n"
            ),
        ),
    )?;
    layer.insert(
        "etc/group",
        Node::file(0o644, format!("root:x:0:\napp:x:{GID}:\n")),
    )?;
    layer.insert(
        "home/app",
        Node {
            uid: UID,
            gid: GID,
            ..Node::directory(0o755)
        },
    )?;
    layer.insert("tmp", Node::directory(0o1777))?;
    Ok(layer)
}

/// A layer in the archive.
#[derive(Clone)]
struct Layer {
    digest: String,
    about: String,
}

/// An archive as `docker save` writes it: blobs by digest, and a manifest that
/// names the images they make up.
struct Archive {
    timestamp: u64,
    tar: tar::Builder<Vec<u8>>,
    blobs: BTreeSet<String>,
    manifest: Vec<Value>,
}

impl Archive {
    fn new(timestamp: u64) -> Self {
        Self {
            timestamp,
            tar: tar::Builder::new(Vec::new()),
            blobs: BTreeSet::new(),
            manifest: Vec::new(),
        }
    }

    /// Puts a layer in; one that is there already is not repeated.
    fn layer(&mut self, about: &str, tree: &Tree) -> Result<Layer> {
        let bytes = layer_tar(tree, self.timestamp)?;
        Ok(Layer {
            digest: self.blob(&bytes)?,
            about: about.to_owned(),
        })
    }

    fn image(&mut self, definition: &Definition, layers: &[Layer]) -> Result<()> {
        let config = serde_json::to_vec(&config(definition, layers, self.timestamp))?;
        let digest = self.blob(&config)?;
        self.manifest.push(json!({
            "Config": blob_path(&digest),
            "RepoTags": [reference(&definition.name)],
            "Layers": layers.iter().map(|layer| blob_path(&layer.digest)).collect::<Vec<_>>(),
        }));
        Ok(())
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<String> {
        let digest = Digest::of(bytes).to_string();
        if self.blobs.insert(digest.clone()) {
            self.file(&blob_path(&digest), bytes)?;
        }
        Ok(digest)
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let node = Node::directory(0o644);
        let mut header = header(&node, tar::EntryType::Regular, self.timestamp);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        let manifest = serde_json::to_vec(&self.manifest)?;
        self.file("manifest.json", &manifest)?;
        Ok(self.tar.into_inner()?)
    }
}

fn blob_path(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

/// The configuration of an image.
fn config(definition: &Definition, layers: &[Layer], timestamp: u64) -> Value {
    let created = i64::try_from(timestamp)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut environment =
        vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    environment.push(format!("fprocess={}", definition.process));
    environment.extend(
        definition
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    json!({
        "architecture": "arm64",
        "os": "linux",
        "created": created,
        "config": {
            "User": format!("{UID}:{GID}"),
            "Env": environment,
            "Cmd": ["fwatchdog"],
            "WorkingDir": "/home/app",
            "ExposedPorts": { "8080/tcp": {} },
            "Healthcheck": {
                "Test": ["CMD-SHELL", "[ -e /tmp/.lock ] || exit 1"],
                "Interval": 3_000_000_000_u64,
            },
            "Labels": {
                "org.opencontainers.image.title": definition.name,
                "org.opencontainers.image.description": definition.description,
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            },
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers
                .iter()
                .map(|layer| format!("sha256:{}", layer.digest))
                .collect::<Vec<_>>(),
        },
        "history": layers
            .iter()
            .map(|layer| json!({ "created": created, "created_by": "rubus", "comment": layer.about }))
            .collect::<Vec<_>>(),
    })
}

fn layer_tar(tree: &Tree, timestamp: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, node) in tree.iter() {
        match &node.kind {
            Kind::Directory => {
                let mut header = header(node, tar::EntryType::Directory, timestamp);
                tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
            }
            Kind::Symlink(target) => {
                let mut header = header(node, tar::EntryType::Symlink, timestamp);
                tar.append_link(&mut header, path, target)?;
            }
            Kind::File(content) => {
                let mut header = header(node, tar::EntryType::Regular, timestamp);
                header.set_size(content.len());
                tar.append_data(&mut header, path, content.reader())
                    .with_context(|| format!("cannot read /{path} of the functions"))?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn header(node: &Node, kind: tar::EntryType, timestamp: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(u32::from(node.mode));
    header.set_uid(u64::from(node.uid));
    header.set_gid(u64::from(node.gid));
    header.set_mtime(timestamp);
    header.set_size(0);
    header
}
