//! Images from a real registry: Debian's `docker-registry`, filled by `skopeo`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rubus::{
    cache::Cache,
    digest::Digest,
    oci::{Credentials, Image, Registry},
    tree::{Kind, Tree},
};
use rubus_service::ImageConfig;
use serde_json::{Value, json};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// `rubus` with the password `secret`, as `htpasswd -nbB` writes it.
const HTPASSWD: &str = "rubus:$2y$05$jrX2QRQDF31nVhftIOfyRuFTmmAutX4MUqIwXfxOVS6G0f4fiyDxm\n";

/// Long enough that a connection breaks off in the middle of it.
const LONG: usize = 3_000_000;

fn command(program: &str, package: &str) -> Command {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    assert!(
        found,
        "this test needs {program}; install it with `apt install {package}`"
    );
    Command::new(program)
}

/// A `docker-registry` on a port of its own, gone when dropped.
struct Server {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts one that holds the test image; returns the image's reference.
    fn start(auth: &str) -> (Self, String) {
        let mut reference = String::new();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
        let layout = folder.path().join("layout");
        let digest = write_layout(&layout);
        // It is filled without a login, and then started again with one.
        for auth in ["", auth] {
            let server = Self::run(folder.path(), auth);
            if reference.is_empty() {
                let host = format!("127.0.0.1:{}", server.1);
                let status = command("skopeo", "skopeo")
                    .args(["copy", "--all", "--quiet", "--insecure-policy"])
                    .args(["--dest-tls-verify=false", "--preserve-digests"])
                    .arg(format!("oci:{}:test", layout.display()))
                    .arg(format!("docker://{host}/test/image:1"))
                    .status()
                    .unwrap();
                assert!(status.success(), "skopeo failed");
                reference = format!("test/image@sha256:{digest}");
                let mut process = server.0;
                stop(&mut process);
            } else {
                let (process, port) = server;
                let host = format!("127.0.0.1:{port}");
                return (
                    Self {
                        process,
                        port,
                        _folder: folder,
                    },
                    format!("{host}/{reference}"),
                );
            }
        }
        unreachable!()
    }

    fn run(folder: &Path, auth: &str) -> (Child, u16) {
        // The port is free again when the registry asks for it.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let auth = auth.replace("FOLDER", folder.to_str().unwrap());
        let config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:{port}\n{auth}",
            folder.join("data").display()
        );
        let path = folder.join("config.yml");
        fs::write(&path, config).unwrap();
        let mut process = command("docker-registry", "docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                process.try_wait().unwrap().is_none(),
                "docker-registry ended at once"
            );
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "docker-registry does not answer"
            );
            thread::sleep(Duration::from_millis(20));
        }
        (process, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

fn stop(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// An OCI layout with an index for two architectures; returns its digest.
fn write_layout(folder: &Path) -> Digest {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8], media_type: &str| -> Value {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.to_string()), bytes).unwrap();
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        })
    };
    let document = |value: &Value, media_type: &str| blob(value.to_string().as_bytes(), media_type);
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let (lower, lower_id) = layer(&[
            ("etc/arch", architecture.as_bytes()),
            ("etc/gone", b"x"),
            ("usr/bin/long", &noise()),
        ]);
        let (upper, upper_id) = layer(&[("etc/.wh.gone", b""), ("etc/new", b"new")]);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Env": ["A=b"], "Entrypoint": ["/usr/bin/long"], "Cmd": null },
            "rootfs": { "type": "layers", "diff_ids": [lower_id, upper_id] },
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": document(&config, CONFIG),
            "layers": [blob(&lower, LAYER), blob(&upper, LAYER)],
        });
        let mut entry = document(&manifest, MANIFEST);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        manifests.push(entry);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut entry = document(&index, INDEX);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "test" });
    let top = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(folder.join("index.json"), top.to_string()).unwrap();
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    Digest::of(index.to_string().as_bytes())
}

/// A compressed layer, and the digest of what is inside.
fn layer(files: &[(&str, &[u8])]) -> (Vec<u8>, String) {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    (
        gzip.finish().unwrap(),
        format!("sha256:{}", Digest::of(&tar)),
    )
}

/// Bytes that do not compress.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(LONG)
    .collect()
}

/// What a proxy does to answers that are long enough to be the long layer.
#[derive(Clone, Copy)]
enum Harm {
    /// Breaks the first one off half-way.
    BreakOnce,
    /// Changes a byte in each.
    Corrupt,
}

/// The status of each long answer.
type Statuses = Arc<Mutex<Vec<String>>>;

/// Passes requests on to a registry; returns its port and what it saw. Each
/// connection carries one request.
fn proxy(to: u16, harm: Harm) -> (u16, Statuses) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let statuses = Statuses::default();
    let seen = Arc::clone(&statuses);
    thread::spawn(move || {
        for client in listener.incoming() {
            let seen = Arc::clone(&seen);
            // A client that hangs up is no concern of the proxy's.
            thread::spawn(move || pass(client.unwrap(), to, harm, &seen).ok());
        }
    });
    (port, statuses)
}

fn pass(mut client: TcpStream, to: u16, harm: Harm, seen: &Statuses) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    for line in BufReader::new(client.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if !line.to_lowercase().starts_with("connection:") {
            write!(server, "{line}\r\n")?;
        }
    }
    write!(server, "Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if answer.len() > LONG / 3 {
        let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
        let mut seen = seen.lock().unwrap();
        seen.push(status);
        let middle = answer.len() / 2;
        match harm {
            Harm::BreakOnce if seen.len() == 1 => answer.truncate(middle),
            Harm::BreakOnce => {}
            Harm::Corrupt => answer[middle] ^= 1,
        }
    }
    client.write_all(&answer)
}

fn cache() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    (folder, cache)
}

fn pull(cache: &Cache, credentials: Credentials, reference: &str) -> anyhow::Result<Image> {
    let registry = Registry::new(cache, credentials, false);
    let image = registry.lock(reference)?;
    registry.pull(&image, &())
}

#[track_caller]
fn check(image: &Image, cache: &Cache) {
    let tree = image.tree(cache).unwrap();
    assert_eq!(content(&tree, "etc/arch"), b"arm64");
    assert_eq!(content(&tree, "etc/new"), b"new");
    assert!(content(&tree, "usr/bin/long") == noise());
    assert!(tree.get("etc/gone").is_none());
    let expected = ImageConfig {
        env: vec!["A=b".into()],
        entrypoint: vec!["/usr/bin/long".into()],
        ..ImageConfig::default()
    };
    assert_eq!(image.config, expected);
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    match &tree.get(path).unwrap().kind {
        Kind::File(content) => content.read().unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn an_index_gives_the_image_for_the_boards_and_then_nothing_is_asked_again() {
    let (server, reference) = Server::start("");
    let (_folder, cache) = cache();
    let registry = Registry::new(&cache, Credentials::default(), false);
    let locked = registry.lock(&reference).unwrap();
    let platforms: Vec<&String> = locked.platforms.keys().collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    check(&registry.pull(&locked, &()).unwrap(), &cache);

    drop(server);
    let offline = Registry::new(&cache, Credentials::default(), true);
    check(&offline.pull(&locked, &()).unwrap(), &cache);
}

#[test]
fn offline_says_what_is_missing() {
    let (_folder, cache) = cache();
    let registry = Registry::new(&cache, Credentials::default(), true);
    let digest = Digest::of(b"");
    let error = registry
        .lock(&format!("localhost/x@sha256:{digest}"))
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(&digest.to_string()), "{text}");
    assert!(text.contains("`--offline`"), "{text}");
}

#[test]
fn a_registry_that_asks_for_a_password_gets_it() {
    let (_server, reference) =
        Server::start("auth:\n  htpasswd:\n    realm: test\n    path: FOLDER/htpasswd\n");
    let (_folder, cache) = cache();
    let error = pull(&cache, Credentials::default(), &reference).unwrap_err();
    assert!(format!("{error:#}").contains("docker login"), "{error:#}");

    let host = reference.split('/').next().unwrap();
    let login = |password: &str| {
        let config = json!({ "auths": { host: { "username": "rubus", "password": password } } });
        Credentials::parse(&config.to_string()).unwrap()
    };
    let error = pull(&cache, login("wrong"), &reference).unwrap_err();
    assert!(format!("{error:#}").contains("docker login"), "{error:#}");
    check(&pull(&cache, login("secret"), &reference).unwrap(), &cache);
}

#[test]
fn a_registry_that_asks_for_a_token_gets_one_from_where_it_says() {
    // The registry's "silly" check takes any token, but sends for it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> = BufReader::new(&stream)
                .lines()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            seen.lock().unwrap().push(lines.join("\n"));
            let body = r#"{"token":"anything"}"#;
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    let (_server, reference) = Server::start(&format!(
        "auth:\n  silly:\n    realm: http://127.0.0.1:{port}/token\n    service: test\n"
    ));
    let (_folder, cache) = cache();
    let host = reference.split('/').next().unwrap();
    let config = json!({ "auths": { host: { "username": "rubus", "password": "secret" } } });
    let credentials = Credentials::parse(&config.to_string()).unwrap();
    check(&pull(&cache, credentials, &reference).unwrap(), &cache);
    let requests = requests.lock().unwrap();
    let request = requests.first().expect("nobody asked for a token");
    assert!(request.contains("scope=repository"), "{request}");
    assert!(
        request
            .to_lowercase()
            .contains("authorization: basic cnvidxm6c2vjcmv0"),
        "{request}"
    );
}

#[test]
fn a_blob_that_breaks_off_is_resumed() {
    let (server, reference) = Server::start("");
    let (port, statuses) = proxy(server.port, Harm::BreakOnce);
    let reference = reference.replace(&server.port.to_string(), &port.to_string());
    let (_folder, cache) = cache();
    check(
        &pull(&cache, Credentials::default(), &reference).unwrap(),
        &cache,
    );
    assert_eq!(*statuses.lock().unwrap(), ["200", "206"]);
}

#[test]
fn a_blob_whose_digest_is_wrong_is_refused() {
    let (server, reference) = Server::start("");
    let (port, _) = proxy(server.port, Harm::Corrupt);
    let reference = reference.replace(&server.port.to_string(), &port.to_string());
    let (folder, cache) = cache();
    let error = pull(&cache, Credentials::default(), &reference).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("the registry sent other bytes than sha256:"),
        "{text}"
    );
    // None of what is visible in the cache is long: the blob is not there.
    for shard in fs::read_dir(folder.path().join("sha256")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            let length = file.unwrap().metadata().unwrap().len();
            assert!(length < LONG as u64 / 3, "{length}");
        }
    }
}
