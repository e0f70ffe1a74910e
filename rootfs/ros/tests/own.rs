//! `ros service add` and `remove` of a `service.toml`, from outside.

#[allow(dead_code, reason = "what other tests need of it")]
mod node;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use node::{Node, stderr, stdout};

/// A service of the image that has variants, and one that was added.
const SERVICES: &str = r#"[
  {"name":"docker","description":"Engine","kind":"daemon","enabled":true,"state":"ready",
   "pid":71,"started_us":1,"ready_us":2,"restarts":0,"exit":null,"memory":1,"reason":"",
   "variant":"docker-26"},
  {"name":"old","description":"Mine","kind":"daemon","enabled":true,"state":"ready",
   "pid":72,"started_us":1,"ready_us":2,"restarts":0,"exit":null,"memory":1,"reason":"",
   "added":true}
]"#;
const ENGINE: &str = r#"{"description":"Engine","kind":"daemon","command":["e"]}"#;
const OLD: &str = r#"{"description":"Mine","kind":"daemon","command":["o"],"after":["docker"]}"#;
const VARIANTS: &str = r#"{"service":"docker","variants":[{"name":"docker-26","version":null,
  "source":"image","state":"current","trial":false,"problem":""}],
  "switch":null,"last":null,"notice":""}"#;
const READY: &str = r#"{"name":"web","description":"d","kind":"daemon","enabled":true,
  "state":"ready","pid":80,"started_us":0,"ready_us":300000,"restarts":0,"exit":null,
  "memory":1,"reason":"","added":true}"#;
const TURNED_OFF: &str = r#"{"name":"web","description":"d","kind":"daemon","enabled":false,
  "state":"stopped","pid":null,"started_us":null,"ready_us":null,"restarts":0,"exit":null,
  "memory":null,"reason":"","added":true}"#;
const STOPPED: &str = r#"{"name":"old","description":"Mine","kind":"daemon","enabled":true,
  "state":"stopped","pid":null,"started_us":null,"ready_us":null,"restarts":0,"exit":null,
  "memory":null,"reason":"","added":true}"#;

const MINIMAL: &str = "description = \"d\"\nkind = \"daemon\"\nimage = \"./web.tar\"\n";

fn answers(more: &[(&'static str, u16, &'static str)]) -> Vec<(&'static str, u16, &'static str)> {
    let mut all = vec![
        ("GET /v1/services", 200, SERVICES),
        ("GET /v1/services/docker/definition", 200, ENGINE),
        ("GET /v1/services/old/definition", 200, OLD),
        ("GET /v1/services/docker/variants", 200, VARIANTS),
    ];
    all.extend(more);
    all
}

/// A node with an image beside the definition: `docker save` of one layer.
fn node(more: &[(&'static str, u16, &'static str)]) -> Node {
    let node = Node::new(&answers(more));
    let owner = fs::metadata(node.path("data")).unwrap();
    let tar = |files: &[(&str, &[u8])]| {
        use std::os::unix::fs::MetadataExt;
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            header.set_uid(u64::from(owner.uid()));
            header.set_gid(u64::from(owner.gid()));
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let layer = tar(&[("bin/web", b"#!/bin/sh\n")]);
    let image = tar(&[
        ("config.json", br#"{"config":{"Entrypoint":["/bin/web"]}}"#),
        ("layer.tar", &layer),
        (
            "manifest.json",
            br#"[{"Config":"config.json","Layers":["layer.tar"]}]"#,
        ),
    ]);
    fs::create_dir_all(node.path("home")).unwrap();
    fs::write(node.path("home/web.tar"), image).unwrap();
    node
}

/// The outcome of adding a definition.
fn add(node: &Node, text: &str, more: &str) -> (i32, String, String) {
    node.write("home/web.toml", text);
    let file = node.path("home/web.toml");
    let output = node.run(&format!("service add {} {more}", file.display()));
    let shown = |text: String| text.replace(&node.path("home").display().to_string(), "HOME");
    let code = output.status.code().unwrap();
    (code, shown(stdout(&output)), shown(stderr(&output)))
}

/// The error of a definition that is refused before anything is made.
fn refused(text: &str, more: &str) -> String {
    let node = node(&[]);
    let (code, out, error) = add(&node, text, more);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    assert!(!node.path("var/lib/rubus/services").exists());
    assert!(node.requests().iter().all(|it| it.starts_with("GET ")));
    error.trim_end().to_owned()
}

#[test]
fn a_service_is_made_of_its_image_taken_in_and_started() {
    let node = node(&[
        ("PUT /v1/services/web", 200, READY),
        ("POST /v1/services/web/start", 200, READY),
    ]);
    let (code, out, error) = add(&node, MINIMAL, "");
    assert_eq!(
        (code, out.as_str(), error.as_str()),
        (
            0,
            "unpacking HOME/./web.tar\nweb is added\nweb is ready after 0.3 s\n",
            ""
        )
    );
    let asked = node.requests();
    let last = &asked[asked.len() - 2..];
    assert_eq!(
        last,
        ["PUT /v1/services/web", "POST /v1/services/web/start"]
    );
    // Nothing of it is anywhere where the runtime did not put it.
    let folder = node.path("var/lib/rubus/services");
    let left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, [".lock"]);
    let mode = fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_it_may_do_beyond_the_defaults_is_said_in_one_line() {
    let node = node(&[("PUT /v1/services/web", 200, TURNED_OFF)]);
    let text = format!(
        "{MINIMAL}enabled = false\nnetwork = \"host\"\ncapabilities = [\"CAP_NET_RAW\"]\n\
         mounts = [\"/data/web:/srv:rw\"]\nsettings = [\"ntp\"]\n"
    );
    let (code, out, error) = add(&node, &text, "");
    assert_eq!(code, 0, "{error}");
    assert_eq!(
        out,
        "unpacking HOME/./web.tar\n\
         beyond the defaults, web may: CAP_NET_RAW; use the node's network; write /data/web; \
         read the settings ntp\n\
         web is added; `ros service enable web` starts it\n"
    );
    // It finds its settings at its first start.
    assert!(node.path("run/rubus/settings/web/settings.json").exists());
}

#[test]
fn one_that_is_there_is_stopped_only_when_its_successor_is_ready_to_come() {
    let node = node(&[
        ("POST /v1/services/old/stop", 200, STOPPED),
        ("PUT /v1/services/old", 409, r#"{"error":"no"}"#),
        ("POST /v1/services/old/start", 200, READY),
    ]);
    let (code, _, error) = add(&node, &MINIMAL.replace("./web", "./gone"), "--name old");
    assert_eq!(code, 1);
    assert!(error.contains("cannot open HOME/./gone.tar"), "{error}");
    assert!(node.requests().iter().all(|it| it.starts_with("GET ")));

    // And started again when that does not come.
    let (code, _, error) = add(&node, MINIMAL, "--name old");
    assert_eq!((code, error.as_str()), (1, "ros: no\n"));
    let asked = node.requests();
    assert_eq!(
        asked[asked.len() - 3..],
        [
            "POST /v1/services/old/stop",
            "PUT /v1/services/old",
            "POST /v1/services/old/start"
        ]
    );
}

#[test]
fn mistakes_are_named_before_anything_is_fetched() {
    assert_eq!(
        refused(&format!("{MINIMAL}packages = [\"nginx\"]\n"), ""),
        "ros: HOME/web.toml:4: `packages`: a node has no builder; name an image with these \
         programs as `image` instead"
    );
    assert_eq!(
        refused(&format!("{MINIMAL}after = [\"dokcer\"]\n"), ""),
        "ros: HOME/web.toml: service web: `after` names \"dokcer\", which does not exist; did \
         you mean `docker`?"
    );
    let said = refused(&format!("{MINIMAL}settings = [\"ntpp\"]\n"), "");
    assert!(
        said.starts_with("ros: HOME/web.toml: `settings`: "),
        "{said}"
    );
    assert!(said.contains("ntp"), "{said}");
}

#[test]
fn a_file_of_a_usual_name_is_called_by_its_folder_also_from_within() {
    let node = node(&[]);
    node.write(
        "home/shop/service.toml",
        &format!("{MINIMAL}after = [\"nothing\"]\n"),
    );
    let output = node
        .command("service add service.toml")
        .current_dir(node.path("home/shop"))
        .output()
        .unwrap();
    let error = stderr(&output);
    assert!(
        error.starts_with("ros: service.toml: service shop: `after` names"),
        "{error}"
    );
}

#[test]
fn a_name_that_something_else_has_is_refused() {
    for (name, words) in [
        ("docker", "docker is a service of the image"),
        ("docker-26", "docker-26 is a variant of docker"),
        ("../web", "\"../web\" cannot name a service"),
        ("Web", "\"Web\" cannot name a service"),
    ] {
        let said = refused(MINIMAL, &format!("--name {name}"));
        assert!(said.contains(words), "{said}");
        assert!(said.contains("--name"), "{said}");
    }
    let node = node(&[]);
    node.write(
        "var/lib/rubus/compose/shop.yaml",
        "services: {a: {image: x}}",
    );
    let (code, _, error) = add(&node, MINIMAL, "--name shop");
    assert_eq!(code, 1);
    assert!(error.contains("shop is a compose file"), "{error}");
}

#[test]
fn a_removed_one_is_stopped_and_its_files_are_deleted() {
    const ONE: &str = r#"{"name":"old","description":"Mine","kind":"daemon","enabled":true,
      "state":"ready","pid":72,"started_us":1,"ready_us":2,"restarts":0,"exit":null,"memory":1,
      "reason":"","added":true}"#;
    let node = node(&[
        ("GET /v1/services/old", 200, ONE),
        ("POST /v1/services/old/stop", 200, STOPPED),
        ("POST /v1/settings/reload", 200, r#"{"trial_ends_us":null}"#),
        ("DELETE /v1/services/old", 200, r#"{"aside":"/moved"}"#),
        (
            "GET /v1/services/docker",
            200,
            r#"{"name":"docker","description":"Engine",
          "kind":"daemon","enabled":true,"state":"ready","pid":71,"started_us":1,"ready_us":2,
          "restarts":0,"exit":null,"memory":1,"reason":""}"#,
        ),
        (
            "DELETE /v1/services/docker",
            409,
            r#"{"error":"docker is a service of the image"}"#,
        ),
    ]);
    node.write("run/rubus/settings/old/settings.json", "{}");
    let error = node.fails("service remove docker");
    assert_eq!(error, "ros: docker is a service of the image");
    let error = node.fails("service remove gone");
    assert!(error.contains("`ros service list`"), "{error}");
    node.prints("config set services.old false");
    // What the runtime moves aside is deleted; here it is somewhere else.
    node.write("moved/service.json", OLD);
    assert_eq!(
        node.prints("service remove old"),
        "old is removed; what it wrote to its mounts stays\n"
    );
    assert!(!node.path("moved").exists());
    assert!(!node.path("run/rubus/settings/old").exists());
    assert!(
        !node.prints("config export").contains("old"),
        "another may come"
    );
    let asked = node.requests();
    assert!(!asked.iter().any(|it| it == "POST /v1/services/docker/stop"));
    assert_eq!(
        asked[asked.len() - 2..],
        ["POST /v1/services/old/stop", "DELETE /v1/services/old"]
    );
}
