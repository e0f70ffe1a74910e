use std::time::Duration;

use super::*;
use crate::project::Restart;

fn parse(text: &str) -> Result<Project, String> {
    Project::parse("app.yaml", Name::OrElse("app"), text).map_err(|problem| problem.to_string())
}

/// The service `a` with these lines.
fn service(lines: &str) -> Result<Service, String> {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("services:\n  a:\n    image: x\n{lines}volumes:\n  v:\n");
    parse(&text).map(|mut project| project.services.remove("a").unwrap())
}

#[test]
fn a_file_as_people_write_it_is_read() {
    let project = parse(
        r#"
version: "3.8"
x-common: &common
  restart: always
services:
  web:
    <<: *common
    image: nginx:1.27
    command: nginx -g 'daemon off;'
    ports: ["8080:80", {target: 443, published: "8443", host_ip: 127.0.0.1}]
    environment:
      - A=1
      - B=two words
    volumes:
      - ./html:/usr/share/nginx/html:ro
    depends_on:
      db: {condition: service_healthy}
  db:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: secret, PGPORT: 5432}
    volumes: [data:/var/lib/postgresql/data]
    healthcheck:
      test: pg_isready
      interval: 1m30s
      retries: 5
    logging: {options: {max-size: 1m}}
volumes:
  data:
"#
        .replace("./html", "/home/rubus/html")
        .as_str(),
    )
    .unwrap();
    let web = &project.services["web"];
    assert_eq!(web.restart, Restart::Always);
    assert_eq!(
        web.command.as_deref().unwrap(),
        ["nginx", "-g", "daemon off;"]
    );
    assert_eq!(web.ports.len(), 2);
    assert_eq!(
        (web.ports[1].published, web.ports[1].target),
        (Some(8443), 443)
    );
    assert_eq!(web.environment["B"], "two words");
    assert_eq!(web.mounts[0].options, ["ro"]);
    assert_eq!(web.depends_on["db"], Condition::Healthy);
    let db = &project.services["db"];
    assert_eq!(
        db.restart,
        Restart::UnlessStopped,
        "a service is there to run"
    );
    assert_eq!(db.environment["PGPORT"], "5432");
    let health = db.health.as_ref().unwrap();
    assert_eq!(health.test, ["CMD-SHELL", "pg_isready"]);
    assert_eq!(health.interval, Some(Duration::from_secs(90)));
    assert_eq!(db.logging.as_ref().unwrap().0, "local");
    let order: Vec<_> = project
        .in_order()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(order, ["db", "web"]);
    assert_eq!(project.container_name("web"), "app-web-1");
    assert_eq!(project.volume_name("data"), "app_data");
}

#[test]
fn every_key_that_is_understood_is_read() {
    let lines = r#"
entrypoint: ["/bin/x"]
labels: {a: b}
user: "1000:1000"
group_add: [dialout]
working_dir: /srv
hostname: h
container_name: c
tmpfs: [/tmp, "/run:size=1m"]
expose: ["80"]
restart: on-failure:3
cap_add: [NET_ADMIN]
cap_drop: [ALL]
devices: ["/dev/i2c-1"]
read_only: true
privileged: false
init: true
pid: host
extra_hosts: ["a:10.0.0.1"]
mem_limit: 64m
cpus: 0.5
stop_signal: SIGINT
stop_grace_period: 1m
pull_policy: missing
volumes:
  - {type: bind, source: /srv, target: /srv, read_only: true}
  - {type: volume, source: v, target: /v}
  - /anonymous
"#;
    let service = service(lines).unwrap();
    assert_eq!(service.restart, Restart::OnFailure(Some(3)));
    assert_eq!(service.mounts.len(), 3);
    assert_eq!(service.mounts[2].source, MountSource::Anonymous);
    assert_eq!(service.memory, Some(64 << 20));
    assert_eq!(service.nano_cpus, Some(500_000_000));
    assert_eq!(service.tmpfs["/run"], "size=1m");
    assert!(service.read_only && service.init && service.pid_host && !service.privileged);
    assert_eq!(
        self::service("network_mode: host\nrestart: no\n")
            .unwrap()
            .restart,
        Restart::No
    );
    let shown: String = lines.to_owned()
        + "image command environment depends_on healthcheck ports network_mode logging";
    for key in KEYS {
        assert!(shown.contains(key), "{key} is tested");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_the_way_out() {
    for (lines, expected) in [
        (
            "netwrok_mode: host",
            "app.yaml:4: `services.a.netwrok_mode`: there is no such key; did you mean `network_mode`?",
        ),
        (
            "build: .",
            "app.yaml:4: `services.a.build`: this is not supported; build the image elsewhere",
        ),
        (
            "networks: [x]",
            "`services.a.networks`: this is not supported",
        ),
        (
            "ports:\n  - \"80\"\n  - \"x\"",
            "app.yaml:6: `services.a.ports`: \"x\" is not a port",
        ),
        ("volumes: [\"./a:/b\"]", "is relative"),
        ("volumes: [\"w:/b\"]", "there is no volume w"),
        (
            "volumes: [{type: tmpfs, target: /x}]",
            "its `type` is not one of bind and volume",
        ),
        ("environment: [A]", "\"A\" has no value"),
        (
            "environment: {A: }",
            "`services.a.environment.A`: it has no value",
        ),
        ("environment: {A: $HOME}", "HOME has no value"),
        ("depends_on: [b]", "there is no service b"),
        ("depends_on: [a]", "in a circle"),
        (
            "depends_on: {a: {condition: ready}}",
            "\"ready\" is not one of service_started",
        ),
        (
            "restart: sometimes",
            "\"sometimes\" is not one of no, always",
        ),
        ("read_only: maybe", "neither true nor false"),
        ("command: \"a 'b\"", "its quotes do not end"),
        ("image: 'a b'", "\"a b\" is not an image"),
        ("network_mode: host\nports: [\"80\"]", "remove `ports`"),
        (
            "healthcheck: {test: [true]}",
            "a list begins with NONE, CMD or CMD-SHELL",
        ),
        ("pull_policy: always", "only \"missing\" is supported"),
        ("devices: [/etc/passwd]", "is not a device"),
    ] {
        // A second `image` would be a duplicate.
        let error = if lines.starts_with("image") {
            parse(&format!("services:\n  a:\n    {lines}\n")).unwrap_err()
        } else {
            service(lines).unwrap_err()
        };
        assert!(error.contains(expected), "{lines}\n{error}");
    }
    for (text, expected) in [
        ("", "app.yaml: it is empty"),
        ("a: [", "app.yaml:"),
        ("services: {}", "it has no services"),
        (
            "services:\n  a:\n    command: x\n",
            "app.yaml:3: `services.a`: it has no `image`",
        ),
        (
            "servces: {}",
            "app.yaml:1: `servces`: there is no such key; did you mean `services`?",
        ),
        ("networks: {}", "not supported"),
        ("services:\n  ../a: {image: x}\n", "cannot name a service"),
        (
            "name: A/B\nservices: {a: {image: x}}",
            "cannot name a project",
        ),
        ("services: [a]", "keys with values belong here"),
        (
            "services: {a: {image: x}}\nvolumes: {v: {driver: nfs}}",
            "docker volume create",
        ),
        (
            "services: {a: {image: x, container_name: c}, b: {image: x, container_name: c}}",
            "another service has a container",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn the_catalogue_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../services/catalogue");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let project = Project::parse(&path.display().to_string(), Name::Is(&name), &text).unwrap();
        assert!(project.description.is_some(), "{name}");
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn a_name_that_is_given_counts_more_than_the_files() {
    let text = "name: shop\nservices: {a: {image: x}}";
    let named = |name| Project::parse("f", name, text).map(|it| it.name);
    assert_eq!(named(Name::OrElse("web")).unwrap(), "shop");
    assert_eq!(named(Name::Is("web")).unwrap(), "web");
    assert!(named(Name::Is("../web")).is_err());
}

#[test]
fn any_text_is_read_or_refused() {
    // Pieces of files in any order, by a small generator that is always the same.
    let pieces = [
        "services:",
        "\n",
        "  ",
        "a:",
        " image: x",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<: ",
        "|",
        ">",
        "#",
        "$",
        "${",
        "ports:",
        "80:80",
        "volumes:",
        "\u{0}",
        "é",
        "---",
        "!!x ",
    ];
    let mut state: u64 = 1;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..(state >> 59) + 3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text += pieces[(state >> 33) as usize % pieces.len()];
        }
        let _ = parse(&text);
    }
}
