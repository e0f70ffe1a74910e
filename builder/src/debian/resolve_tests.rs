use super::*;
use crate::{debian::sources::suite, digest::Digest};

/// `NAME VERSION [-> DEPENDS] [= PROVIDES] [!]` (`!` for priority "required").
fn package(line: &str, from: &str) -> Package {
    let required = line.ends_with('!');
    let line = line.trim_end_matches('!').trim();
    let (line, provides) = line.split_once(" = ").unwrap_or((line, ""));
    let (line, depends) = line.split_once(" -> ").unwrap_or((line, ""));
    let (name, version) = line.split_once(' ').unwrap();
    Package {
        name: name.into(),
        version: Version::new(version),
        architecture: "arm64".into(),
        suite: suite(from).unwrap(),
        path: format!("pool/main/{name}.deb"),
        size: 1,
        sha256: Digest::of(line.as_bytes()),
        depends: depends.into(),
        provides: provides.into(),
        priority: if required { 0 } else { 3 },
    }
}

fn universe(pools: &[(&str, &[&str])]) -> Universe {
    let mut universe = Universe::default();
    for (pool, lines) in pools {
        let packages = lines.iter().map(|line| package(line, pool));
        universe.add(pool, packages).unwrap();
    }
    universe
}

fn trixie(lines: &[&str]) -> Universe {
    universe(&[("trixie", lines)])
}

fn request(packages: &str) -> Request {
    Request {
        packages: packages.split_whitespace().map(str::to_owned).collect(),
        ..Request::default()
    }
}

fn from(suite: &str, packages: &str) -> Request {
    Request {
        suite: Some(suite.into()),
        ..request(packages)
    }
}

fn without(exclude: &str, packages: &str) -> Request {
    Request {
        exclude: request(exclude).packages,
        ..request(packages)
    }
}

#[track_caller]
fn gives(universe: &Universe, request: &Request, expected: &str) {
    let found: Vec<String> = universe
        .closure(request)
        .unwrap()
        .iter()
        .map(|package| format!("{}={}", package.name, package.version))
        .collect();
    assert_eq!(found.join(" "), expected);
}

fn fails(universe: &Universe, request: &Request) -> String {
    universe.closure(request).unwrap_err().to_string()
}

#[test]
fn dependencies_are_followed_through_cycles() {
    let universe = trixie(&["a 1 -> b, c", "b 1 -> c (>= 1)", "c 1 -> a", "d 1"]);
    gives(&universe, &request("a"), "a=1 b=1 c=1");
}

#[test]
fn the_highest_version_of_a_pool_is_taken() {
    let universe = trixie(&["a 1.2", "a 1.10", "a 1.10~rc1"]);
    gives(&universe, &request("a"), "a=1.10");
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    let universe = trixie(&["a 1 -> none | b (>= 2) | c", "b 1", "c 1"]);
    gives(&universe, &request("a"), "a=1 c=1");
}

#[test]
fn an_alternative_that_is_in_already_is_enough() {
    let universe = trixie(&["a 1 -> b | c", "b 1", "c 1"]);
    gives(&universe, &request("a c"), "a=1 c=1");
}

#[test]
fn a_virtual_package_is_provided_by_the_most_basic_package() {
    let universe = trixie(&[
        "a 1 -> awk",
        "gawk 1 = awk",
        "mawk 1 = awk !",
        "original-awk 1 = awk",
    ]);
    gives(&universe, &request("a"), "a=1 mawk=1");
    gives(&universe, &request("a gawk"), "a=1 gawk=1");
}

#[test]
fn a_version_is_met_only_by_a_versioned_provider() {
    let lines = [
        "a 1 -> v (>= 2)",
        "b 1 = v",
        "c 1 = v (= 1)",
        "d 1 = v (= 2)",
    ];
    gives(&trixie(&lines), &request("a"), "a=1 d=1");
    fails(&trixie(&lines[..3]), &request("a"));
}

#[test]
fn what_is_excluded_is_left_out_with_what_only_it_needs() {
    let universe = trixie(&["a 1 -> b, v", "b 1 -> c", "c 1", "p 1 = v"]);
    gives(&universe, &without("b", "a"), "a=1 p=1");
    gives(&universe, &without("v", "a"), "a=1 b=1 c=1");
    gives(&universe, &without("p", "a"), "a=1 b=1 c=1");
}

#[test]
fn an_excluded_alternative_is_not_replaced_by_the_next() {
    let universe = trixie(&["a 1 -> b | c", "b 1", "c 1"]);
    gives(&universe, &without("b", "a"), "a=1");
}

#[test]
fn another_suite_gives_only_what_is_asked_from_it() {
    let universe = universe(&[
        (
            "trixie",
            &["kernel 6 -> kernel-6", "kernel-6 6 -> kmod", "kmod 34"],
        ),
        (
            "trixie-backports",
            &["kernel 7 -> kernel-7", "kernel-7 7 -> kmod", "kmod 35"],
        ),
    ]);
    gives(&universe, &request("kernel"), "kernel=6 kernel-6=6 kmod=34");
    gives(
        &universe,
        &from("trixie-backports", "kernel"),
        "kernel=7 kernel-7=7 kmod=34",
    );
}

#[test]
fn another_suite_helps_out_where_the_main_one_is_too_old() {
    let universe = universe(&[
        (
            "trixie",
            &["kernel 6", "kmod 34 -> old", "old 1", "z 1 -> kmod"],
        ),
        (
            "trixie-backports",
            // `a` brings in the old kmod before `kernel` needs the new one.
            &[
                "a 1 -> z",
                "kernel 7 -> kmod (>= 35)",
                "kmod 35 -> new",
                "new 1",
            ],
        ),
    ]);
    gives(
        &universe,
        &from("trixie-backports", "a kernel"),
        "a=1 kernel=7 kmod=35 new=1 z=1",
    );
}

#[test]
fn a_version_that_the_request_names_is_not_overruled() {
    let universe = universe(&[
        ("trixie", &["a 2", "b 2 -> a (>= 2)"]),
        ("sid", &["a 1", "c 1 -> b"]),
    ]);
    let error = fails(&universe, &from("sid", "a c"));
    assert!(error.contains("a 1 is asked for"), "{error}");
    assert!(error.contains("c needs b needs a (>= 2)"), "{error}");
}

#[test]
fn a_package_that_does_not_exist_is_an_error_with_a_suggestion() {
    let universe = universe(&[
        (
            "trixie",
            &["openssh-server 1", "b 1 = greeting", "only-trixie 3"],
        ),
        ("sid", &["openssh-server 2"]),
    ]);
    assert_eq!(
        fails(&universe, &request("openssh-servr")),
        "there is no package \"openssh-servr\" in trixie; did you mean \"openssh-server\"?"
    );
    assert!(
        fails(&universe, &request("greeting")).contains("virtual package, of which there are b")
    );
    assert!(fails(&universe, &from("sid", "only-trixie")).contains("trixie has it in version 3"));
    assert!(fails(&universe, &request("entirely-else")).ends_with("in trixie"));
    assert_eq!(
        fails(&universe, &from("bookworm", "a1")),
        "the suite bookworm is not loaded"
    );
}

#[test]
fn a_dependency_that_cannot_be_met_names_everyone_on_the_way() {
    let universe = trixie(&[
        "docker 1 -> containerd",
        "containerd 1 -> lib (>= 9)",
        "lib 2",
    ]);
    assert_eq!(
        fails(&universe, &request("docker")),
        "nothing in trixie meets the dependency \"lib (>= 9)\" (trixie has lib 2): \
         docker needs containerd needs lib (>= 9)"
    );
}

#[test]
fn dependencies_that_make_no_sense_are_an_error() {
    let universe = trixie(&["a 1 -> b (maybe 2)"]);
    assert!(fails(&universe, &request("a")).starts_with("the dependencies of a cannot"));
}

#[test]
fn the_result_does_not_depend_on_the_order_of_the_packages() {
    let mut lines = ["a 1 -> v, w", "b 1 = v", "c 1 = v", "d 1 = w", "e 1 = w !"];
    gives(&trixie(&lines), &request("a"), "a=1 b=1 e=1");
    lines.reverse();
    gives(&trixie(&lines), &request("a"), "a=1 b=1 e=1");
}
