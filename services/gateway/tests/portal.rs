//! The portal: its page, what that asks for, and who may ask.

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use gateway::{model::FunctionId, provider::Provider};
use serde_json::{Value, json};
use support::{
    NAMESPACE,
    client::{AUTHORIZATION, Answer, Server, request, start},
    deployment, id,
    memory::Memory,
};

/// Most that the page may weigh.
const MOST: usize = 100_000;

async fn gateway() -> (Arc<Memory>, Server) {
    let memory = Arc::new(Memory::default());
    let server = start(Arc::clone(&memory), &[]).await;
    (memory, server)
}

/// The names of the page's files.
fn files() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

async fn page(server: &Server, name: &str) -> Answer {
    server.admin("GET", &format!("/ui/{name}"), "").await
}

#[tokio::test]
async fn the_page_asks_for_the_password() {
    let (_, server) = gateway().await;
    for path in ["/ui", "/ui/", "/ui/main.js", "/ui/none"] {
        let answer = server.open("GET", path, "").await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"Restricted\"")
        );
    }
    let answer = server.admin("GET", "/ui", "").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, Some("/ui/"))
    );
    assert_eq!(server.admin("GET", "/ui/none", "").await.status, 404);
    assert_eq!(server.admin("GET", "/ui/../ui/", "").await.status, 404);
    assert_eq!(
        server.admin("GET", "/ui/..%2Fui/main.js", "").await.status,
        404
    );
    assert_eq!(server.admin("POST", "/ui/", "").await.status, 405);
}

#[tokio::test]
async fn the_page_is_small_and_may_use_nothing_but_the_gateway() {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
        connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
        base-uri 'none'; form-action 'none'";
    let (_, server) = gateway().await;
    let index = page(&server, "").await;
    assert_eq!(index.body, page(&server, "index.html").await.body);
    let mut size = 0;
    for name in files() {
        let answer = page(&server, &name).await;
        size += answer.body.len();
        let kind = match name.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("what is {other}?"),
        };
        assert_eq!(answer.status, 200, "{name}");
        for (header, value) in [
            ("content-type", kind),
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(header), Some(value), "{name}");
        }
    }
    assert!(size < MOST, "the page has {size} bytes");
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let (_, server) = gateway().await;
    for name in ["", "main.js", "style.css"] {
        let tag = page(&server, name).await.header("etag").unwrap().to_owned();
        let known = format!("If-None-Match: {tag}");
        let path = format!("/ui/{name}");
        let ask = async |header: &str| {
            request(server.address, "GET", &path, &[AUTHORIZATION, header], b"").await
        };
        let answer = ask(&known).await;
        assert_eq!((answer.status, answer.text()), (304, ""), "{name}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert!(answer.header("content-security-policy").is_some());
        assert_eq!(ask("If-None-Match: \"other\"").await.status, 200, "{name}");
    }
}

/// The policy would keep the browser from running it, silently.
#[test]
fn the_page_has_no_code_in_its_markup_and_no_markup_in_its_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let html = read("index.html");
    assert!(!html.contains("<style") && !html.contains(" style="));
    for script in html.split("<script").skip(1) {
        let (attributes, rest) = script.split_once('>').unwrap();
        assert!(attributes.contains(" src="), "{attributes}");
        assert!(rest.starts_with("</script>"), "{rest}");
    }
    let handler = html
        .split_whitespace()
        .find(|word| word.starts_with("on") && word.contains('='));
    assert_eq!(handler, None);
    assert!(!html.contains("javascript:"));

    for name in files() {
        let text = read(&name);
        for host in ["http:", "https:", "src=\"//", "url(", "@import"] {
            // The name of SVG, which nobody fetches.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(host), "{name} has {host}");
        }
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
            "DOMParser",
        ] {
            assert!(!text.contains(markup), "{name} has {markup}");
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites_cannot_use_the_api() {
    let (memory, server) = gateway().await;
    let body = r#"{"service":"echo","image":"echo"}"#;
    let ask = async |method: &str, path: &str, headers: &[&str]| {
        let mut all = vec![AUTHORIZATION];
        all.extend_from_slice(headers);
        request(server.address, method, path, &all, body.as_bytes())
            .await
            .status
    };
    let deploy = async |headers: &[&str]| ask("POST", "/system/functions", headers).await;
    for headers in [
        &["Sec-Fetch-Site: cross-site", "Origin: http://evil.example"][..],
        &["Sec-Fetch-Site: cross-site"],
        // Another port of this node: a function's page, for one.
        &["Sec-Fetch-Site: same-site", "Origin: http://node:3000"],
        &["Origin: http://evil.example"],
        &["Origin: http://node:3000"],
        &["Origin: null"],
    ] {
        assert_eq!(deploy(headers).await, 403, "{headers:?}");
        let path = "/system/functions";
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(ask(method, path, headers).await, 403, "{headers:?}");
        }
        // Nor do they see which routes there are.
        assert_eq!(ask("GET", "/system/none", headers).await, 403);
    }
    assert_eq!(memory.list().await.unwrap(), []);

    // Those without a password are not even asked for it.
    let origin = ["Origin: http://evil.example"];
    let answer = request(server.address, "GET", "/system/functions", &origin, b"").await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("www-authenticate"), None);

    for (headers, status) in [
        // The portal.
        (
            &["Sec-Fetch-Site: same-origin", "Origin: http://node:8080"][..],
            202,
        ),
        (&["Origin: http://node:8080"], 400),
        // faas-cli, curl.
        (&[], 400),
    ] {
        assert_eq!(deploy(headers).await, status, "{headers:?}");
    }
    // Functions are for everybody.
    let answer = request(server.address, "POST", "/function/echo", &origin, b"x").await;
    assert_eq!((answer.status, answer.text()), (200, "x"));
}

#[tokio::test]
async fn the_numbers_of_functions_grow() {
    let (memory, server) = gateway().await;
    let stats = async || server.admin("GET", "/system/stats", "").await.json();
    let before = stats().await;
    assert_eq!(before["functions"], json!([]));
    let bounds = before["buckets"].as_array().unwrap().len();

    memory
        .deploy(&id("echo"), deployment("echo", "echo"), 1)
        .await
        .unwrap();
    let dev = FunctionId::new("pot", "dev");
    memory
        .deploy(&dev, deployment("pot", "teapot"), 1)
        .await
        .unwrap();
    for _ in 0..3 {
        server.open("POST", "/function/echo", "x").await;
    }
    server.open("GET", "/function/pot.dev", "").await;
    server.open("GET", "/function/none", "").await;

    let after = stats().await;
    assert!(after["seconds"].as_f64() > before["seconds"].as_f64());
    let functions = after["functions"].as_array().unwrap();
    let shown = functions
        .iter()
        .map(|function| (&function["name"], &function["namespace"]));
    let expected = [
        (&json!("echo"), &json!(NAMESPACE)),
        (&json!("pot"), &json!("dev")),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    for (function, class, count) in [(&functions[0], "2xx", 3), (&functions[1], "4xx", 1)] {
        assert_eq!(function["begun"], count);
        assert_eq!(function["inFlight"], 0);
        assert_eq!(function["answers"], json!({ class: count }));
        assert!(function["seconds"].as_f64().unwrap() > 0.0);
        let buckets: Vec<u64> = function["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|count| count.as_u64().unwrap())
            .collect();
        assert_eq!(buckets.len(), bounds);
        assert!(buckets.is_sorted(), "{buckets:?}");
        assert_eq!(buckets.last(), Some(&count), "none took ten seconds");
    }
}

#[tokio::test]
async fn the_node_tells_how_it_is() {
    let (_, server) = gateway().await;
    let node = server.admin("GET", "/system/node", "").await.json();
    for text in ["name", "gateway"] {
        assert!(node[text].is_string(), "{text}: {node}");
    }
    for number in ["uptime", "processors"] {
        assert!(node[number].is_u64(), "{number}: {node}");
    }
    assert_eq!(node["load"].as_array().unwrap().len(), 3);
    for space in ["memory", "disk"] {
        let [total, available] = ["total", "available"].map(|it| node[space][it].as_u64().unwrap());
        assert!(total > 0 && available <= total, "{node}");
    }
    assert!(node["temperature"].is_null() || node["temperature"].is_number());
    assert_eq!(node["engine"], json!({"name": "none", "version": "1"}));
    assert_eq!(node["namespace"], NAMESPACE);
}

/// A folder as the builder makes it.
fn image(functions: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("functions.json", &functions.to_string());
    write("images.tar", "rubus/cat:1\nrubus/wc:1\n");
    folder
}

fn carried() -> Value {
    json!([
        {
            "service": "cat", "image": "rubus/cat:1", "readOnlyRootFilesystem": true,
            "labels": {"com.openfaas.scale.zero": "true"},
            "annotations": {"description": "Answers with what it was sent"},
        },
        {"service": "wc", "image": "rubus/wc:1"},
    ])
}

#[tokio::test]
async fn functions_of_the_image_are_deployed_without_a_network() {
    let folder = image(&carried());
    let memory = Arc::new(Memory::default());
    let variables = [("functions_path", folder.path().to_str().unwrap())];
    let server = start(Arc::clone(&memory), &variables).await;
    let store = server.admin("GET", "/system/store", "").await.json();
    let expected = json!([
        {"name": "cat", "image": "rubus/cat:1", "description": "Answers with what it was sent"},
        {"name": "wc", "image": "rubus/wc:1", "description": null},
    ]);
    assert_eq!(store, expected);

    assert!(!memory.has_image("rubus/cat:1").await.unwrap());
    let answer = server.admin("POST", "/system/store/cat", "").await;
    assert_eq!((answer.status, answer.text()), (202, ""));
    assert!(memory.has_image("rubus/cat:1").await.unwrap());
    let status = memory.status(&id("cat")).await.unwrap();
    assert_eq!((status.replicas, status.available_replicas), (1, 1));
    assert!(status.read_only_root_filesystem);

    let answer = server.admin("POST", "/system/store/cat", "").await;
    assert_eq!(answer.status, 400, "it is there already");
    let answer = server.admin("POST", "/system/store/none", "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn an_image_may_carry_nothing_or_something_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("functions.json");
    let variables = [("functions_path", folder.path().to_str().unwrap())];
    let server = start(Arc::new(Memory::default()), &variables).await;
    let store = server.admin("GET", "/system/store", "").await;
    assert_eq!((store.status, store.text()), (200, "[]"));
    std::fs::write(&path, "[{").unwrap();
    let store = server.admin("GET", "/system/store", "").await;
    assert_eq!(store.status, 500);
    assert!(store.text().contains("cannot read"), "{}", store.text());
}

#[tokio::test]
async fn what_the_page_asks_for_needs_the_password() {
    let (_, server) = gateway().await;
    for path in ["node", "stats", "store"] {
        let answer = server.open("GET", &format!("/system/{path}"), "").await;
        assert_eq!(answer.status, 401, "{path}");
    }
    let answer = server.open("POST", "/system/store/cat", "").await;
    assert_eq!(answer.status, 401);
}

/// Not a test: the portal to look at, with functions that are called and names
/// that are hostile. User `admin`, password `secret`:
/// `cargo test -p gateway --test portal -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "serves the portal until it is stopped"]
async fn serve() {
    let folder = image(&carried());
    let memory = Arc::new(Memory::default());
    for (name, kind, replicas) in [
        ("echo", "echo:<b>1</b>", 2),
        ("kettle", "teapot", 1),
        ("ticker", "endless", 1),
        ("tomorrow", "slow", 1),
        ("idle", "echo", 0),
        ("elsewhere", "redirect", 1),
    ] {
        let mut deployment = deployment(name, kind);
        if name == "echo" {
            let schedule = [("topic", "cron-function"), ("schedule", "*/5 * * * *")];
            let all = schedule.map(|(key, value)| (key.to_owned(), value.to_owned()));
            deployment.annotations = Some(all.into());
        }
        memory
            .deploy(&id(name), deployment, replicas)
            .await
            .unwrap();
    }
    let variables = [
        ("functions_path", folder.path().to_str().unwrap()),
        ("scale_from_zero", "true"),
    ];
    let server = start(Arc::clone(&memory), &variables).await;
    println!("http://{}/ui/", server.address);
    for turn in 0_u64.. {
        for _ in 0..(turn / 20) % 4 {
            server.open("POST", "/function/echo", "hello").await;
        }
        if turn % 7 == 0 {
            server.open("GET", "/function/kettle", "").await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
