//! The contract of [`Provider`], checked on every provider: one in memory, and
//! a Docker engine, for which this program has to be where the engine's
//! containers can be reached. `TEST_DOCKER_SOCKET` names the engine's socket.
//! `TEST_SECRETS` names a folder that the engine sees under the same name.
//! `TEST_DOCKER_IMAGE` names an image of that engine whose function is `cat`;
//! without it, one is made of this machine's programs.

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use gateway::{
    model::{FunctionDeployment, Resources, logs::Query},
    provider::{
        Error, Provider,
        docker::{Allowed, DockerProvider, Options, Pull},
    },
    seed,
};
use support::{client, deployment, id, memory::Memory};

/// An image whose function answers with what it was sent.
const ECHO: &str = "gateway-test/echo:1";

fn map(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

/// Everything that a deployment can say on any provider.
fn full(name: &str) -> FunctionDeployment {
    FunctionDeployment {
        env_process: Some("cat".to_owned()),
        env_vars: map(&[("KEY", "some value")]),
        labels: map(&[("team", "x"), ("com.openfaas.scale.zero", "true")]),
        annotations: map(&[("topic", "cron-function"), ("text", "{\n  \"a\": 1\n}")]),
        constraints: Some(vec!["node.platform.os == linux".to_owned()]),
        limits: Some(Resources {
            memory: "32Mi".to_owned(),
            cpu: "500m".to_owned(),
            ..Resources::default()
        }),
        requests: Some(Resources {
            memory: "16Mi".to_owned(),
            ..Resources::default()
        }),
        read_only_root_filesystem: true,
        ..deployment(name, ECHO)
    }
}

async fn available(provider: &impl Provider, name: &str, count: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = provider.status(&id(name)).await.unwrap();
        if status.available_replicas == count {
            assert_eq!(status.replicas, count);
            let endpoints = provider.route(&id(name)).await.unwrap().endpoints;
            assert_eq!(endpoints.len(), count as usize);
            return;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn conforms(provider: &impl Provider) {
    what_is_not_there_is_not_found(provider).await;
    what_was_deployed_is_told_to_the_letter(provider).await;
    replicas_follow_what_is_asked_for(provider).await;
    an_update_replaces_a_function(provider).await;
    what_fails_changes_nothing(provider).await;
    operations_on_one_function_do_not_overlap(provider).await;
    secrets_are_kept_by_namespace(provider).await;
}

async fn what_is_not_there_is_not_found(provider: &impl Provider) {
    let none = id("none");
    assert_eq!(provider.status(&none).await, Err(Error::NotFound));
    assert_eq!(provider.route(&none).await, Err(Error::NotFound));
    assert_eq!(provider.scale(&none, 1).await, Err(Error::NotFound));
    assert_eq!(provider.delete(&none).await, Err(Error::NotFound));
    let update = provider.update(&none, deployment("none", ECHO)).await;
    assert_eq!(update, Err(Error::NotFound));
}

async fn what_was_deployed_is_told_to_the_letter(provider: &impl Provider) {
    for sent in [full("full"), deployment("bare", ECHO)] {
        let id = id(&sent.service);
        provider.deploy(&id, sent.clone(), 1).await.unwrap();
        let again = provider.deploy(&id, sent.clone(), 1).await;
        assert_eq!(again, Err(Error::Exists));
        available(provider, &id.name, 1).await;

        let told = provider.status(&id).await.unwrap();
        let mut labels = sent.labels.clone().unwrap_or_default();
        labels.insert("faas_function".to_owned(), id.name.clone());
        assert_eq!(told.name, id.name);
        assert_eq!(told.namespace, id.namespace);
        assert_eq!(told.image, sent.image);
        assert_eq!(told.env_process, sent.env_process);
        assert_eq!(told.env_vars, sent.env_vars);
        assert_eq!(told.constraints, sent.constraints);
        assert_eq!(told.labels, Some(labels));
        assert_eq!(told.annotations, sent.annotations);
        assert_eq!(told.limits, sent.limits);
        assert_eq!(told.requests, sent.requests);
        assert_eq!(
            told.read_only_root_filesystem,
            sent.read_only_root_filesystem
        );
        assert!(told.created_at.ends_with('Z'), "{}", told.created_at);
        assert!(provider.list().await.unwrap().contains(&told));

        provider.delete(&id).await.unwrap();
        assert_eq!(provider.status(&id).await, Err(Error::NotFound));
        assert!(!provider.list().await.unwrap().contains(&told));
    }
}

async fn replicas_follow_what_is_asked_for(provider: &impl Provider) {
    let scaled = id("scaled");
    let sent = deployment("scaled", ECHO);
    provider.deploy(&scaled, sent, 0).await.unwrap();
    for count in [0, 1, 3, 3, 1, 0, 2, 0] {
        provider.scale(&scaled, count).await.unwrap();
        available(provider, "scaled", count).await;
    }
    provider.delete(&scaled).await.unwrap();
}

async fn an_update_replaces_a_function(provider: &impl Provider) {
    let updated = id("updated");
    provider
        .deploy(&updated, deployment("updated", ECHO), 2)
        .await
        .unwrap();
    let before = provider.route(&updated).await.unwrap().endpoints;
    provider.update(&updated, full("updated")).await.unwrap();
    available(provider, "updated", 2).await;
    let after = provider.route(&updated).await.unwrap().endpoints;
    assert!(after.iter().all(|endpoint| !before.contains(endpoint)));
    let status = provider.status(&updated).await.unwrap();
    assert_eq!(status.env_vars, full("updated").env_vars);

    provider.scale(&updated, 0).await.unwrap();
    provider
        .update(&updated, deployment("updated", ECHO))
        .await
        .unwrap();
    available(provider, "updated", 0).await;
    assert_eq!(provider.status(&updated).await.unwrap().env_vars, None);
    provider.delete(&updated).await.unwrap();
}

async fn what_fails_changes_nothing(provider: &impl Provider) {
    let missing = "missing.invalid/none:1";
    let failing = id("failing");
    let result = provider
        .deploy(&failing, deployment("failing", missing), 1)
        .await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    assert_eq!(provider.status(&failing).await, Err(Error::NotFound));
}

async fn operations_on_one_function_do_not_overlap(provider: &impl Provider) {
    let busy = id("busy");
    let deploy = || provider.deploy(&busy, deployment("busy", ECHO), 1);
    let (one, two) = tokio::join!(deploy(), deploy());
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let scale = |count| provider.scale(&busy, count);
    let (one, two, three) = tokio::join!(scale(3), scale(0), scale(2));
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    available(provider, "busy", 2).await;
    provider.delete(&busy).await.unwrap();
}

async fn secrets_are_kept_by_namespace(provider: &impl Provider) {
    let list = async |namespace| provider.secrets(namespace).await.unwrap();
    provider.create_secret("a", "key", b"one").await.unwrap();
    let again = provider.create_secret("a", "key", b"two").await;
    assert_eq!(again, Err(Error::Exists));
    provider.create_secret("b", "key", b"other").await.unwrap();
    provider.create_secret("b", "more", b"\0").await.unwrap();
    assert_eq!(list("a").await, ["key"]);
    assert_eq!(list("b").await, ["key", "more"]);
    provider.replace_secret("a", "key", b"two").await.unwrap();
    assert_eq!(provider.is_secret("a", "key", b"two").await, Ok(true));
    assert_eq!(provider.is_secret("a", "key", b"one").await, Ok(false));
    assert_eq!(provider.is_secret("a", "more", b"").await, Ok(false));
    let missing = provider.replace_secret("a", "more", b"x").await;
    assert_eq!(missing, Err(Error::NotFound));
    let outside = provider.create_secret("a", "../key", b"x").await;
    assert!(matches!(outside, Err(Error::Invalid(_))), "{outside:?}");
    for (namespace, name) in [("a", "key"), ("b", "key"), ("b", "more")] {
        provider.delete_secret(namespace, name).await.unwrap();
        let again = provider.delete_secret(namespace, name).await;
        assert_eq!(again, Err(Error::NotFound));
    }
    assert_eq!(list("b").await, Vec::<String>::new());
    let without = FunctionDeployment {
        secrets: Some(vec!["key".to_owned()]),
        ..deployment("without", ECHO)
    };
    let refused = provider.deploy(&id("without"), without, 1).await;
    let reason = "unable to find secret: key".to_owned();
    assert_eq!(refused, Err(Error::Invalid(reason)));
}

#[tokio::test]
async fn the_provider_in_memory_conforms() {
    // Two deployments at once cannot be told apart in memory without a lock, and
    // need not be: nobody but tests calls it.
    let memory = Memory::default();
    what_is_not_there_is_not_found(&memory).await;
    what_was_deployed_is_told_to_the_letter(&memory).await;
    replicas_follow_what_is_asked_for(&memory).await;
    an_update_replaces_a_function(&memory).await;
    what_fails_changes_nothing(&memory).await;
    secrets_are_kept_by_namespace(&memory).await;
}

/// A path for what a test makes, with nothing there. Not one that the build
/// knows: this program may run on another machine.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join("gateway-conformance").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// A folder that the engine sees under the same name.
fn secrets_folder() -> PathBuf {
    std::env::var_os("TEST_SECRETS").map_or_else(
        || std::env::temp_dir().join("gateway-conformance-secrets"),
        PathBuf::from,
    )
}

/// A provider for the engine at a socket.
fn options(socket: &Path) -> Options {
    Options {
        socket: socket.to_owned(),
        secrets: secrets_folder(),
        pull: Pull::default(),
        allowed: Allowed {
            devices: vec!["/dev/full".to_owned()],
            folders: vec!["/home".to_owned()],
            dev: "/dev".into(),
        },
    }
}

/// The engine to test on.
struct Docker {
    socket: PathBuf,
}

impl Docker {
    fn new() -> Self {
        let socket = std::env::var_os("TEST_DOCKER_SOCKET")
            .expect("TEST_DOCKER_SOCKET has to name the socket of a Docker engine");
        let docker = Self {
            socket: socket.into(),
        };
        match std::env::var("TEST_DOCKER_IMAGE") {
            Ok(image) => drop(docker.run(&["tag", &image, ECHO])),
            Err(_) => docker.make_image(),
        }
        for function in docker
            .run(&["ps", "-aq", "--filter", "label=com.openfaas.function"])
            .lines()
        {
            docker.run(&["rm", "-f", function]);
        }
        docker
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker")
            .arg("-H")
            .arg(format!("unix://{}", self.socket.display()))
            .args(arguments)
            .output()
            .expect("these tests need the docker command");
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// An image of this machine's busybox and the watchdog.
    fn make_image(&self) {
        let folder = scratch("echo-image");
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::create_dir_all(folder.join("tmp")).unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "watchdog", "--bin", "fwatchdog"])
            .status()
            .unwrap();
        assert!(built.success());
        // target/debug/deps/conformance-HASH is this program.
        let program = std::env::current_exe().unwrap();
        let watchdog = program.parent().unwrap().with_file_name("fwatchdog");
        std::fs::copy(&watchdog, folder.join("bin/fwatchdog")).unwrap();
        std::fs::copy("/bin/busybox", folder.join("bin/busybox")).unwrap();
        for name in ["cat", "sh", "sleep"] {
            std::os::unix::fs::symlink("busybox", folder.join("bin").join(name)).unwrap();
        }
        let libraries = Command::new("ldd").arg(&watchdog).output().unwrap();
        for word in String::from_utf8(libraries.stdout)
            .unwrap()
            .split_whitespace()
        {
            if let Some(path) = word.strip_prefix('/') {
                let target = folder.join(path);
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::fs::copy(word, target).unwrap();
            }
        }
        let tar = folder.with_extension("tar");
        let packed = Command::new("tar")
            .args(["--owner=0", "--group=0", "--mode=a+rwX", "-cf"])
            .arg(&tar)
            .arg("-C")
            .arg(&folder)
            .arg(".")
            .status()
            .unwrap();
        assert!(packed.success());
        self.run(&[
            "import",
            "--change",
            "CMD [\"/bin/fwatchdog\"]",
            "--change",
            "ENV PATH=/bin fprocess=cat",
            "--change",
            "USER 100:101",
            tar.to_str().unwrap(),
            ECHO,
        ]);
    }

    /// A provider that follows the engine.
    async fn provider(&self) -> Arc<DockerProvider> {
        let provider = Arc::new(DockerProvider::new(options(&self.socket)));
        let watching = Arc::clone(&provider);
        tokio::spawn(async move { watching.watch().await });
        provider.ready().await.unwrap();
        provider
    }
}

/// One test, because the tests of an engine share it.
#[tokio::test]
#[ignore = "needs TEST_DOCKER_SOCKET; tests/tests/engine.rs runs it on a node"]
async fn the_docker_provider_conforms() {
    let docker = Docker::new();
    let provider = docker.provider().await;
    conforms(&*provider).await;

    functions_are_reached_through_the_gateway(&docker, &provider).await;
    a_function_sees_its_secrets(&provider).await;
    what_a_function_wrote_and_uses_is_told(&provider).await;
    a_function_has_of_the_node_what_its_owner_allows(&docker, &provider).await;
    what_happens_behind_its_back_is_noticed(&docker, &provider).await;
    an_update_that_does_not_answer_is_undone(&provider).await;
    a_provider_without_memory_finds_everything_again(&docker).await;
    functions_of_the_image_are_given_once(&docker, &provider).await;
    without_an_engine_it_says_so().await;
}

async fn functions_are_reached_through_the_gateway(
    docker: &Docker,
    provider: &Arc<DockerProvider>,
) {
    let server = client::start(Arc::clone(provider), &[("scale_from_zero", "true")]).await;
    provider.deploy(&id("idle"), full("idle"), 0).await.unwrap();
    let start = Instant::now();
    let answer = server.open("POST", "/function/idle", "hello").await;
    eprintln!("a cold start took {:?}", start.elapsed());
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert!(answer.header("x-duration-seconds").is_some());

    let container = docker.run(&["ps", "-q", "--filter", "label=com.openfaas.function=idle"]);
    let host = docker.run(&[
        "inspect",
        "--format",
        "{{json .HostConfig}}",
        container.trim(),
    ]);
    let host: serde_json::Value = serde_json::from_str(&host).unwrap();
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["Memory"], 32 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
    provider.delete(&id("idle")).await.unwrap();
    assert_eq!(
        server.open("POST", "/function/idle", "hello").await.status,
        404
    );
}

async fn a_function_sees_its_secrets(provider: &Arc<DockerProvider>) {
    let server = client::start(Arc::clone(provider), &[]).await;
    let namespace = support::NAMESPACE;
    let replace = async |value| provider.replace_secret(namespace, "token", value).await;
    provider
        .create_secret(namespace, "token", b"one")
        .await
        .unwrap();
    let reader = FunctionDeployment {
        env_process: Some("cat /var/openfaas/secrets/token".to_owned()),
        secrets: Some(vec!["token".to_owned()]),
        ..full("reader")
    };
    provider
        .deploy(&id("reader"), reader.clone(), 1)
        .await
        .unwrap();
    replicas_answer(provider, "reader").await;
    let seen = async || {
        server
            .open("GET", "/function/reader", "")
            .await
            .text()
            .to_owned()
    };
    assert_eq!(seen().await, "one");
    // Nobody has to start it again.
    replace(b"two").await.unwrap();
    assert_eq!(seen().await, "two");
    provider.update(&id("reader"), reader).await.unwrap();
    provider.scale(&id("reader"), 2).await.unwrap();
    replace(b"three").await.unwrap();
    replicas_answer(provider, "reader").await;
    assert_eq!(
        (seen().await, seen().await),
        ("three".into(), "three".into())
    );
    // An update that does not come to be leaves no secret of its own behind.
    let other = provider.create_secret(namespace, "other", b"x");
    other.await.unwrap();
    let broken = FunctionDeployment {
        env_vars: map(&[("mode", "no-such-mode")]),
        secrets: Some(vec!["other".to_owned()]),
        ..full("reader")
    };
    assert!(provider.update(&id("reader"), broken).await.is_err());
    let given = secrets_folder().join("given/openfaas-fn/reader");
    assert!(given.join("token").exists() && !given.join("other").exists());
    assert_eq!(seen().await, "three");
    provider.delete(&id("reader")).await.unwrap();
    assert!(!given.exists());
    provider.delete_secret(namespace, "other").await.unwrap();
    provider.delete_secret(namespace, "token").await.unwrap();
}

async fn a_function_has_of_the_node_what_its_owner_allows(
    docker: &Docker,
    provider: &Arc<DockerProvider>,
) {
    let with = |annotations: &[(&str, &str)], constraint: &str| FunctionDeployment {
        annotations: map(annotations),
        constraints: Some(vec![constraint.to_owned()]),
        env_process: Some("sh".to_owned()),
        ..deployment("granted", ECHO)
    };
    let granted = id("granted");
    for (annotations, constraint, reason) in [
        (
            ("org.rubus.devices", "/dev/mem"),
            "node.role == manager",
            "gateway.devices",
        ),
        (
            ("org.rubus.folders", "/etc:/host"),
            "node.role == manager",
            "gateway.folders",
        ),
        (("a", "b"), "node.hostname == elsewhere", "does not hold"),
    ] {
        let sent = with(&[annotations], constraint);
        let refused = provider.deploy(&granted, sent, 1).await.unwrap_err();
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    let wanted = [
        ("org.rubus.devices", "/dev/full"),
        ("org.rubus.folders", "/home:/people:ro"),
    ];
    let sent = with(&wanted, "node.platform.os == linux");
    provider.deploy(&granted, sent, 1).await.unwrap();
    let container = docker.run(&[
        "ps",
        "-q",
        "--filter",
        "label=com.openfaas.function=granted",
    ]);
    let inside = |command: &str| docker.run(&["exec", container.trim(), "sh", "-c", command]);
    let error = inside("cat /dev/null > /dev/full && echo x > /dev/full; echo ended $?");
    assert!(error.contains("ended 1"), "{error}");
    let error = inside("test -d /people && ! test -w /people && echo read only");
    assert_eq!(error.trim(), "read only");
    provider.delete(&granted).await.unwrap();
}

/// Waits until every replica answers.
async fn replicas_answer(provider: &DockerProvider, name: &str) {
    for endpoint in provider.route(&id(name)).await.unwrap().endpoints {
        let deadline = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(endpoint).await.is_err() {
            assert!(Instant::now() < deadline, "{name} does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn what_a_function_wrote_and_uses_is_told(provider: &Arc<DockerProvider>) {
    let server = client::start(Arc::clone(provider), &[]).await;
    let talker = deployment("talker", ECHO);
    provider.deploy(&id("talker"), talker, 1).await.unwrap();
    replicas_answer(provider, "talker").await;
    let following = Query {
        follow: true,
        ..Query::default()
    };
    let mut lines = provider.logs(&id("talker"), &following).await.unwrap();
    assert_eq!(
        server
            .open("POST", "/function/talker", "12345")
            .await
            .text(),
        "12345"
    );
    let deadline = Duration::from_secs(30);
    let mut until = async |what: &str| {
        loop {
            let line = tokio::time::timeout(deadline, lines.next()).await;
            let line = line.expect("it goes on").expect("it goes on").unwrap();
            if line.text.contains(what) {
                return line;
            }
        }
    };
    let line = until("Wrote 5 Bytes").await;
    assert_eq!(
        (line.name.as_str(), line.namespace.as_str()),
        ("talker", support::NAMESPACE)
    );
    assert!(line.instance.starts_with("talker."), "{line:?}");
    assert!(line.timestamp.ends_with('Z'), "{line:?}");
    // One that starts later is heard too.
    provider.scale(&id("talker"), 2).await.unwrap();
    let second = until("Listening on port").await;
    assert_ne!(second.instance, line.instance);

    let last = Query {
        tail: Some(1),
        instance: Some(line.instance.clone()),
        ..Query::default()
    };
    let last = provider.logs(&id("talker"), &last).await.unwrap();
    let last: Vec<_> = last.map(Result::unwrap).collect().await;
    assert_eq!(last.len(), 1);
    assert!(last[0].text.contains("Wrote 5 Bytes"), "{last:?}");
    let none = provider.logs(&id("none"), &Query::default()).await;
    assert!(matches!(none, Err(Error::NotFound)));

    let usage = provider.usage(&id("talker")).await.unwrap();
    assert!(usage.memory > 100_000.0, "{usage:?}");
    provider.delete(&id("talker")).await.unwrap();
    let ended = tokio::time::timeout(deadline, lines.count()).await;
    assert!(ended.is_ok(), "the lines end with the function");
}

async fn what_happens_behind_its_back_is_noticed(docker: &Docker, provider: &Arc<DockerProvider>) {
    let server = client::start(Arc::clone(provider), &[("scale_from_zero", "true")]).await;
    provider
        .deploy(&id("moved"), deployment("moved", ECHO), 1)
        .await
        .unwrap();
    assert_eq!(
        server.open("POST", "/function/moved", "1").await.text(),
        "1"
    );
    let container = docker.run(&["ps", "-q", "--filter", "label=com.openfaas.function=moved"]);
    docker.run(&["stop", "-t", "0", container.trim()]);
    available(&**provider, "moved", 0).await;
    assert_eq!(
        server.open("POST", "/function/moved", "2").await.text(),
        "2"
    );
    docker.run(&["rm", "-f", container.trim()]);
    assert_eq!(
        server.open("POST", "/function/moved", "3").await.status,
        404
    );
}

async fn an_update_that_does_not_answer_is_undone(provider: &Arc<DockerProvider>) {
    let broken = FunctionDeployment {
        env_vars: map(&[("mode", "no-such-mode")]),
        ..deployment("kept", ECHO)
    };
    provider
        .deploy(&id("kept"), deployment("kept", ECHO), 1)
        .await
        .unwrap();
    let result = provider.update(&id("kept"), broken).await;
    assert!(matches!(result, Err(Error::Failed(_))), "{result:?}");
    available(&**provider, "kept", 1).await;
    assert_eq!(provider.status(&id("kept")).await.unwrap().env_vars, None);
    provider.delete(&id("kept")).await.unwrap();
}

async fn a_provider_without_memory_finds_everything_again(docker: &Docker) {
    let first = docker.provider().await;
    first
        .deploy(&id("lasting"), full("lasting"), 2)
        .await
        .unwrap();
    first
        .deploy(&id("resting"), full("resting"), 0)
        .await
        .unwrap();
    available(&*first, "lasting", 2).await;
    let second = DockerProvider::new(options(&docker.socket));
    let told = second.list().await.unwrap();
    assert_eq!(told, first.list().await.unwrap());
    let replicas: Vec<u32> = told.iter().map(|function| function.replicas).collect();
    assert_eq!(replicas, [2, 0]);
    second.delete(&id("lasting")).await.unwrap();
    second.delete(&id("resting")).await.unwrap();
}

async fn functions_of_the_image_are_given_once(docker: &Docker, provider: &Arc<DockerProvider>) {
    let folder = scratch("seed");
    let (image, state) = (folder.join("image"), folder.join("state"));
    std::fs::create_dir_all(&image).unwrap();
    let carried = [full("one"), full("two")];
    std::fs::write(
        image.join("functions.json"),
        serde_json::to_vec(&carried).unwrap(),
    )
    .unwrap();
    let archive = image.join("images.tar");
    docker.run(&["save", "-o", archive.to_str().unwrap(), ECHO]);
    docker.run(&["rmi", ECHO]);

    seed::run(&**provider, support::NAMESPACE, &image, &state).await;
    available(&**provider, "one", 0).await;
    available(&**provider, "two", 0).await;
    provider.delete(&id("one")).await.unwrap();
    seed::run(&**provider, support::NAMESPACE, &image, &state).await;
    assert_eq!(provider.status(&id("one")).await, Err(Error::NotFound));
    provider.delete(&id("two")).await.unwrap();
}

async fn without_an_engine_it_says_so() {
    let provider = DockerProvider::new(options(Path::new("/nonexistent/docker.sock")));
    let result = provider.ready().await;
    assert!(
        matches!(&result, Err(Error::Unavailable(reason)) if reason.contains("/nonexistent/docker.sock")),
        "{result:?}"
    );
    let result = provider.list().await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
}
