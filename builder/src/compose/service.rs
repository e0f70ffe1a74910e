//! The root filesystem of a service.

use anyhow::{Context, Result};
use rubus_service::Service;

use super::{
    accounts, certificates,
    dpkg::{self, Installed},
    glob, skeleton,
};
use crate::tree::{Content, Node, Tree};

/// What the root of a service is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Unpacked packages, or the layers of an image as one tree.
    pub base: Vec<&'a Tree>,
    /// The packages, where dpkg is to know them.
    pub installed: Vec<Installed<'a>>,
    /// Our own program, when the service has one.
    pub program: Option<Program>,
    /// Folders laid over it, in this order.
    pub overlays: Vec<Tree>,
}

/// One of our own programs.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file name in `/usr/bin`.
    pub name: String,
    /// The executable.
    pub content: Content,
}

/// Composes the root of a service.
///
/// # Errors
/// When two parts contradict each other, or accounts collide.
pub fn root(service: &Service, parts: &Parts) -> Result<Tree> {
    let mut tree = Tree::new();
    // An image brings its own layout; only Debian's is ours to make.
    if service.image.is_none() {
        tree.merge("", &skeleton()?)?;
    }
    for base in &parts.base {
        tree.merge("", base)?;
    }
    if let Some(program) = &parts.program {
        let path = format!("usr/bin/{}", program.name);
        tree.insert(&path, Node::file(0o755, program.content.clone()))?;
    }
    if service.image.is_none() {
        accounts::write(&mut tree, &service.users, &service.groups)?;
    }
    if !parts.installed.is_empty() {
        dpkg::write_database(&mut tree, &parts.installed)?;
    }
    for overlay in &parts.overlays {
        tree.merge("", overlay)?;
    }
    certificates::write_bundle(&mut tree, !parts.installed.is_empty())?;
    tree.retain(|path, _| {
        !service
            .remove
            .iter()
            .any(|pattern| glob::covers(pattern, path))
    });
    for (path, target) in &service.links {
        let path = path.trim_start_matches('/');
        tree.insert(path, Node::symlink(target.clone()))
            .with_context(|| format!("cannot make the link /{path}"))?;
    }
    for path in &service.directories {
        mount_point(&mut tree, path, false)?;
    }
    Ok(tree)
}

/// Makes the place that a mount lands on, unless there is something already or
/// it lies where memory is mounted: a read-only root cannot get it later.
///
/// # Errors
/// When the path leads through something that is not a folder.
pub fn mount_point(tree: &mut Tree, path: &str, file: bool) -> Result<()> {
    let path = path.trim_matches('/');
    let in_memory = ["dev", "proc", "run", "sys", "tmp"]
        .iter()
        .any(|top| path.split('/').next() == Some(top));
    if path.is_empty() || in_memory || tree.resolve(path).is_some() {
        return Ok(());
    }
    let node = if file {
        Node::file(0o644, "")
    } else {
        Node::directory(0o755)
    };
    tree.insert(path, node)
        .with_context(|| format!("cannot make a place for the mount on /{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Service {
        let head = "description = \"x\"\nkind = \"daemon\"\ncommand = [\"x\"]\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for path in paths {
            tree.insert(path, Node::file(0o644, *path)).unwrap();
        }
        tree
    }

    #[test]
    fn packages_then_program_then_overlays_then_removals_and_links() {
        let service = service(
            "remove = [\"usr/share/junk\"]\nlinks = { \"/usr/sbin/iptables\" = \"iptables-nft\" }",
        );
        let packages = tree(&["usr/sbin/iptables-nft", "usr/share/junk/a", "etc/x"]);
        let parts = Parts {
            base: vec![&packages],
            installed: Vec::new(),
            program: Some(Program {
                name: "ours".to_owned(),
                content: "elf".into(),
            }),
            overlays: vec![tree(&["etc/x", "etc/y"])],
        };
        let root = root(&service, &parts).unwrap();
        assert_eq!(root.get("usr/bin/ours").unwrap().mode, 0o755);
        assert_eq!(
            root.resolve("sbin/iptables").unwrap().0,
            "usr/sbin/iptables-nft"
        );
        assert!(root.get("usr/share/junk").is_none());
        assert!(root.get("etc/y").is_some());
        assert!(root.get("etc/passwd").is_some());
    }

    #[test]
    fn mounts_find_a_place_except_where_memory_is() {
        let mut root = root(
            &service(""),
            &Parts {
                base: Vec::new(),
                installed: Vec::new(),
                program: None,
                overlays: Vec::new(),
            },
        )
        .unwrap();
        mount_point(&mut root, "/etc/hosts", true).unwrap();
        mount_point(&mut root, "/var/lib/rubus/x", false).unwrap();
        mount_point(&mut root, "/run/docker", false).unwrap();
        assert!(!root.get("etc/hosts").unwrap().is_directory());
        assert!(root.get("var/lib/rubus/x").unwrap().is_directory());
        assert!(root.get("run/docker").is_none());
    }
}
