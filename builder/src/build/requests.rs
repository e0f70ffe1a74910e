//! Which Debian packages the definitions ask for, as named sets of the lock.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::{
    board::{self, Board},
    debian::resolve::Request,
    project::Project,
    services::Bundle,
};

/// The set of the system root.
pub const SYSTEM: &str = "system";
/// The set that function images are made from.
pub const FUNCTIONS: &str = "functions";

/// No packages left out.
const NOTHING: &[&str] = &[];

/// The set of a service's root.
pub fn service_set(name: &str) -> String {
    format!("service/{name}")
}

/// The set of the root of a variant of a service.
pub fn variant_set(name: &str, variant: &str) -> String {
    format!("service/{name}/{variant}")
}

/// The set of a board's kernel.
pub fn kernel_set(board: &Board) -> String {
    format!("kernel/{}", board.name)
}

/// The set of a board's firmware.
pub fn firmware_set(board: &Board) -> String {
    format!("firmware/{}", board.name)
}

/// The requests of images for the given boards with the given bundles.
///
/// # Errors
/// When the definition of the system root cannot be read.
pub fn all(
    project: &Project,
    boards: &[Board],
    bundles: &[Bundle],
) -> Result<BTreeMap<String, Request>> {
    let system = project.system()?;
    let mut requests = BTreeMap::new();
    requests.insert(
        SYSTEM.to_owned(),
        request("rootfs/system.toml", &system.packages, &system.exclude),
    );
    requests.insert(
        FUNCTIONS.to_owned(),
        request("functions", &["busybox-static"], NOTHING),
    );
    for bundle in bundles {
        let service = &bundle.service;
        if service.packages.is_empty() {
            continue;
        }
        let mut packages = request(&bundle.origin, &service.packages, &service.exclude);
        packages.suite = service.suite.clone();
        requests.insert(bundle.set.clone(), packages);
    }
    for board in boards {
        let origin = format!("boards/{}.toml", board.name);
        let mut kernel = request(&origin, &board.kernel.packages, &board::EXCLUDE);
        kernel.suite = Some(board.kernel.suite.clone());
        requests.insert(kernel_set(board), kernel);
        let firmware: BTreeSet<&str> = board
            .firmware
            .iter()
            .map(|spec| spec.package.as_str())
            .collect();
        if !firmware.is_empty() {
            let firmware: Vec<&str> = firmware.into_iter().collect();
            requests.insert(
                firmware_set(board),
                request(&origin, &firmware, &board::EXCLUDE),
            );
        }
    }
    Ok(requests)
}

fn request<P: AsRef<str>, X: AsRef<str>>(origin: &str, packages: &[P], exclude: &[X]) -> Request {
    Request {
        packages: packages
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect(),
        exclude: exclude
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect(),
        suite: None,
        origin: origin.to_owned(),
    }
}
