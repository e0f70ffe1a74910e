//! Functions on a node, by the requests that `faas-cli` sends.

use std::time::{Duration, Instant};

use rubus_tests::{
    image::image,
    node::{Node, Options},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
/// An image that every node has: what it runs is said at its deployment.
const IMAGE: &str = "rubus/echoit:0.1.0";

/// The API of a node's gateway, with the password that `ros` shows.
struct Api {
    node: Node,
    user: String,
}

impl Api {
    fn of(node: Node) -> Self {
        let said = node.ssh("ros function credentials --json");
        let credentials: Value = serde_json::from_str(&said).unwrap();
        let [user, password] = ["user", "password"].map(|it| credentials[it].as_str().unwrap());
        let gateway = credentials["gateway"].as_str().unwrap();
        assert!(gateway.ends_with(".local:8080"), "{gateway}");
        Self {
            user: format!("{user}:{password}"),
            node,
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let args = ["-u", &self.user, "-X", method, "-d", &body];
        let (said, status) = self.node.curl(path, &args);
        (status, said)
    }

    fn get(&self, path: &str) -> Value {
        let (status, said) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Deploys as `faas-cli deploy` does: updates, and makes what is not there.
    fn deploy(&self, function: &Value) {
        let (status, said) = self.ask("PUT", "/system/functions", function);
        if status == 404 {
            let (status, said) = self.ask("POST", "/system/functions", function);
            assert_eq!(status, 202, "{said}");
        } else {
            assert_eq!(status, 202, "{said}");
        }
    }

    fn call(&self, function: &str, args: &[&str]) -> (String, u16) {
        self.node.curl(&format!("/function/{function}"), args)
    }
}

/// Waits until something is so.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + 2 * MINUTE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn functions_live_as_their_clients_expect() {
    let mut node = Node::boot(&image("qemu-virt"), &Options::default());
    node.wait_ssh(2 * MINUTE);
    node.wait_ssh_command("ros os status --check", 3 * MINUTE);
    let api = Api::of(node);
    wait("the functions of the image are deployed", || {
        api.get("/system/functions").as_array().unwrap().len() >= 4
    });

    // faas-cli login, namespaces, secret create, secret list
    let (_, status) = api.node.curl("/system/functions", &["-u", "admin:wrong"]);
    assert_eq!(status, 401);
    assert_eq!(api.get("/system/namespaces"), json!(["openfaas-fn"]));
    let secret = json!({"name": "api-key", "namespace": "openfaas-fn", "value": "one"});
    assert_eq!(api.ask("POST", "/system/secrets", &secret).0, 201);
    assert_eq!(api.ask("POST", "/system/secrets", &secret).0, 409);
    let secrets = api.get("/system/secrets?namespace=openfaas-fn");
    assert_eq!(
        secrets,
        json!([{"name": "api-key", "namespace": "openfaas-fn"}])
    );

    // The portal is there for who knows the password.
    let (_, status) = api.node.curl("/ui/", &[]);
    assert_eq!(status, 401);
    let (page, status) = api.node.curl("/ui/", &["-u", &api.user]);
    assert_eq!(status, 200);
    assert!(page.contains("<title>"), "{page}");
    assert!(api.get("/system/node")["engine"]["version"].is_string());

    // faas-cli deploy, describe, invoke; secret update
    let mut function = json!({
        "service": "reader", "image": IMAGE, "namespace": "openfaas-fn",
        "envProcess": "cat /var/openfaas/secrets/api-key", "envVars": {"cgi_headers": "true"},
        "labels": {"com.openfaas.scale.max": "3"}, "annotations": {}, "secrets": ["api-key"],
        "constraints": ["node.platform.os == linux"], "readOnlyRootFilesystem": true,
        "limits": {"memory": "32Mi"},
    });
    api.deploy(&function);
    assert_eq!(api.call("reader", &["-d", ""]), ("one".to_owned(), 200));
    let changed = json!({"name": "api-key", "namespace": "openfaas-fn", "value": "two"});
    assert_eq!(api.ask("PUT", "/system/secrets", &changed).0, 202);
    assert_eq!(api.call("reader", &["-d", ""]), ("two".to_owned(), 200));
    let about = api.get("/system/function/reader?namespace=openfaas-fn&usage=true");
    assert_eq!(about["availableReplicas"], 1);
    assert_eq!(about["invocationCount"], 2.0);
    assert_eq!(about["secrets"], json!(["api-key"]));
    assert!(
        about["usage"]["totalMemoryBytes"].as_f64().unwrap() > 1e5,
        "{about}"
    );

    // faas-cli logs
    let logs = "/system/logs?name=reader&namespace=openfaas-fn&tail=-1&follow=false";
    let (status, logs) = api.ask("GET", logs, &Value::Null);
    assert_eq!(status, 200, "{logs}");
    let lines: Vec<Value> = logs
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let wrote = |line: &&Value| line["text"].as_str().unwrap().contains("Wrote 3 Bytes");
    assert_eq!(lines.iter().filter(wrote).count(), 2, "{logs}");

    // Only those who know the token.
    function["annotations"] = json!({"org.rubus.token": "api-key"});
    api.deploy(&function);
    assert_eq!(api.call("reader", &["-d", ""]).1, 401);
    let token = ["-d", "", "-H", "Authorization: Bearer two"];
    assert_eq!(api.call("reader", &token), ("two".to_owned(), 200));

    // Asynchronous, and the answer goes to another function.
    let take_in = || {
        let callback = "X-Callback-Url: http://127.0.0.1:8080/function/wordcount";
        let args = ["-d", "one two", "-H", callback];
        let (said, status) = api.node.curl("/async-function/echoit", &args);
        assert_eq!((said.as_str(), status), ("", 202));
    };
    take_in();
    let calls = |name: &str| {
        let about = api.get(&format!("/system/function/{name}"));
        about["invocationCount"].as_f64().unwrap_or_default()
    };
    wait("the answer came to the callback", || {
        calls("wordcount") >= 1.0
    });

    // A gateway that is killed finds everything again.
    for _ in 0..5 {
        take_in();
    }
    api.node.ssh("sudo pkill -KILL -x gateway");
    wait("the gateway is back", || {
        api.call("reader", &token).1 == 200
    });
    let scale = json!({"serviceName": "reader", "replicas": 2});
    let (status, said) = api.ask("POST", "/system/scale-function/reader", &scale);
    assert_eq!(status, 202, "{said}");
    wait("there are two", || {
        api.get("/system/function/reader")["availableReplicas"] == 2
    });
    assert_eq!(api.call("reader", &token), ("two".to_owned(), 200));

    wait("every call that was taken in was made", || {
        let queue = api.get("/system/queue");
        assert_eq!(queue["dead"], json!([]), "{queue}");
        queue["depth"] == 0 && queue["inflight"] == 0 && queue["callbacks"] == 0
    });

    // By the clock.
    let every = json!({"topic": "cron-function", "schedule": "@every 2s"});
    let ticks = json!({"service": "ticks", "image": IMAGE, "annotations": every});
    api.deploy(&ticks);
    wait("the clock called twice", || calls("ticks") >= 2.0);

    // faas-cli remove
    let gone = json!({"functionName": "reader", "namespace": "openfaas-fn"});
    assert_eq!(api.ask("DELETE", "/system/functions", &gone).0, 202);
    assert_eq!(api.call("reader", &token).1, 404);
    let gone = json!({"name": "api-key", "namespace": "openfaas-fn"});
    assert_eq!(api.ask("DELETE", "/system/secrets", &gone).0, 202);
    let left = api
        .node
        .ssh("sudo find /var/lib/rubus/gateway/function-secrets -type f");
    assert_eq!(left, "");
}
