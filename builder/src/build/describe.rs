//! What an image says of itself: its manifest and its bill of materials.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use anyhow::{Context, Result};
use rubus_config::{image::ImageInfo, paths};

use super::plan::Plan;
use crate::{
    digest::Hasher,
    image::{fat, squashfs},
    lock::LockedPackage,
    manifest::{FORMAT, FileEntry, Manifest, ServiceEntry, VariantEntry},
    sbom::{Bill, Component, Origin, Service},
    tree::{Content, Kind, Tree},
};

/// Our own programs that every image holds.
const SYSTEM_CRATES: &[&str] = &[
    "rubus-init",
    "configure",
    "system-runtime",
    "ros",
    "watchdog",
];

/// The manifest of a slot that holds these files.
pub(super) fn manifest(
    plan: &Plan,
    info: &ImageInfo,
    slot: &fat::Files,
    squashfs: &squashfs::Stats,
) -> Result<Manifest> {
    let mut files = BTreeMap::new();
    for (name, content) in slot {
        let entry = FileEntry {
            size: content.len(),
            sha256: sha256(content).with_context(|| format!("cannot read {name}"))?,
        };
        files.insert(name.clone(), entry);
    }
    let mut services: BTreeMap<String, ServiceEntry> = BTreeMap::new();
    for bundle in &plan.bundles {
        let service = &bundle.service;
        let packages = plan.set(&bundle.set)?.into_iter();
        let packages = packages
            .map(|package| (package.name.clone(), package.version.to_string()))
            .collect();
        if !bundle.is_first() {
            let entry = VariantEntry {
                version: service.version.clone(),
                packages,
                image: service.image.clone(),
            };
            // Those that the image starts with come before their variants.
            let first = services.entry(service.name.clone()).or_default();
            first.variants.insert(bundle.variant().to_owned(), entry);
            continue;
        }
        let configured = plan.settings.services.get(&service.name).copied();
        let entry = ServiceEntry {
            description: service.description.clone(),
            enabled: configured.unwrap_or(service.enabled),
            variant: service.variant.clone(),
            version: service.version.clone(),
            packages,
            image: service.image.clone(),
            variants: BTreeMap::new(),
        };
        services.insert(service.name.clone(), entry);
    }
    Ok(Manifest {
        format: FORMAT,
        board: info.board.clone(),
        version: info.version.clone(),
        build_id: info.build_id.clone(),
        timestamp: info.timestamp,
        kernel: info.kernel.clone(),
        files,
        services,
        sizes: sizes(slot, squashfs),
    })
}

/// Compressed bytes by area.
fn sizes(slot: &fat::Files, squashfs: &squashfs::Stats) -> BTreeMap<String, u64> {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for (path, bytes) in &squashfs.packed {
        *sizes.entry(area(path)).or_default() += bytes;
    }
    for (name, content) in slot {
        let area = match name.as_str() {
            "system.squashfs" => continue,
            "vmlinuz" => "kernel",
            "initrd.img" => "initramfs",
            _ if name.ends_with(".dtb") => "device trees",
            _ => "boot firmware",
        };
        *sizes.entry(area.to_owned()).or_default() += content.len();
    }
    sizes
}

fn area(path: &str) -> String {
    let below = |folder: &str| path.strip_prefix(folder.trim_start_matches('/'));
    if let Some(service) = below(paths::SERVICES) {
        let names: Vec<&str> = service.trim_start_matches('/').split('/').collect();
        return match names[..] {
            [name, "variants", variant, ..] => format!("service {name}, {variant}"),
            [name, ..] => format!("service {name}"),
            [] => String::new(),
        };
    }
    if below(paths::FUNCTIONS).is_some() {
        "functions"
    } else if path.starts_with("usr/lib/modules/") {
        "kernel modules"
    } else if path.starts_with("usr/lib/firmware/") {
        "firmware"
    } else {
        "system"
    }
    .to_owned()
}

/// The bill of materials, as SPDX in JSON.
pub(super) fn bill_of_materials(plan: &Plan, info: &ImageInfo, image: &str) -> Result<String> {
    let mut parts = BTreeSet::new();
    let mut system = BTreeSet::new();
    let mut services: Vec<(String, BTreeSet<Component>)> = Vec::new();
    for name in plan.sets().filter(|name| !name.starts_with("service/")) {
        system.extend(plan.set(name)?.into_iter().map(debian));
    }
    system.extend(SYSTEM_CRATES.iter().map(|name| ours(name, info)));
    for bundle in &plan.bundles {
        let service = &bundle.service;
        let packages = plan.set(&bundle.set)?;
        let mut held: BTreeSet<Component> = packages.into_iter().map(debian).collect();
        held.extend(service.krate.iter().map(|name| ours(name, info)));
        held.extend(service.image.iter().map(|reference| registry(reference)));
        for tree in &plan.overlays[&bundle.folder] {
            held.extend(programs(tree, service.version.as_deref())?);
        }
        parts.extend(held.iter().cloned());
        let name = if bundle.is_first() {
            service.name.clone()
        } else {
            format!("{}/{}", service.name, bundle.variant())
        };
        services.push((name, held));
    }
    parts.extend(system.iter().cloned());
    let components: Vec<Component> = parts.into_iter().collect();
    let indexes = |held: &BTreeSet<Component>| -> Vec<usize> {
        held.iter()
            .filter_map(|part| components.binary_search(part).ok())
            .collect()
    };
    let services: Vec<Service> = services
        .iter()
        .map(|(name, held)| Service {
            name: name.clone(),
            components: indexes(held),
        })
        .collect();
    Bill {
        image,
        version: &info.version,
        build_id: &info.build_id,
        timestamp: info.timestamp,
        components: &components,
        system: &indexes(&system),
        services: &services,
    }
    .to_json()
}

fn debian(package: &LockedPackage) -> Component {
    Component {
        name: package.name.clone(),
        version: package.version.to_string(),
        origin: Origin::Debian {
            architecture: package.architecture.clone(),
        },
        sha256: Some(package.sha256.to_string()),
        license: None,
    }
}

fn ours(name: &str, info: &ImageInfo) -> Component {
    Component {
        name: name.to_owned(),
        version: info.version.clone(),
        origin: Origin::Rubus,
        sha256: None,
        license: Some(env!("CARGO_PKG_LICENSE").to_owned()),
    }
}

fn registry(reference: &str) -> Component {
    let (name, digest) = reference.split_once('@').unwrap_or((reference, ""));
    Component {
        name: name.to_owned(),
        version: digest.to_owned(),
        origin: Origin::Oci,
        sha256: digest.strip_prefix("sha256:").map(str::to_owned),
        license: None,
    }
}

/// Programs of a folder that is laid over a root.
fn programs(tree: &Tree, version: Option<&str>) -> Result<Vec<Component>> {
    let mut programs = Vec::new();
    for (path, node) in tree.iter() {
        let Kind::File(content) = &node.kind else {
            continue;
        };
        if node.mode & 0o100 == 0 {
            continue;
        }
        let sha256 = sha256(content).with_context(|| format!("cannot read {path}"))?;
        programs.push(Component {
            name: path.to_owned(),
            version: version.unwrap_or_default().to_owned(),
            origin: Origin::File,
            sha256: Some(sha256),
            license: None,
        });
    }
    Ok(programs)
}

fn sha256(content: &Content) -> io::Result<String> {
    let mut hasher = Hasher::default();
    let mut reader = io::BufReader::with_capacity(256 << 10, content.reader());
    io::copy(&mut reader, &mut hasher)?;
    Ok(hasher.finish().to_string())
}
