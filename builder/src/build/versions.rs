//! The versions of services, and whether the names of their variants are true.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::{debian::resolve::Request, lock::Lock, services::Bundle};

/// Gives a bundle the version of the package that its definition names.
///
/// # Errors
/// When it does not hold that package, or in another version than its name
/// says.
pub fn put(bundle: &mut Bundle, lock: &Lock, requests: &BTreeMap<String, Request>) -> Result<()> {
    let Some(package) = bundle.service.version_of.clone() else {
        return Ok(());
    };
    let packages = match requests.get(&bundle.set) {
        Some(request) => lock.set(&bundle.set, request)?,
        None => Vec::new(),
    };
    let version = packages
        .iter()
        .find(|locked| locked.name == package)
        .map(|locked| locked.version.to_string())
        .with_context(|| {
            format!(
                "{}: its version is that of {package} (`version_of`), which it does not hold; \
                 write `version`, or name another package",
                bundle.origin
            )
        })?;
    let name = bundle.variant();
    ensure!(
        agree(name, &version),
        "{}: the variant {name} would hold {package} {version}, which is not what its name says; \
         rename it, or take the package from another suite",
        bundle.origin
    );
    bundle.service.version = Some(version);
    // One of them is enough, and a definition has no more.
    bundle.service.version_of = None;
    Ok(())
}

/// Whether a name that ends in a version, such as `docker-28`, may stand for a
/// version of a package, such as `28.5.2+dfsg4-5`.
fn agree(name: &str, version: &str) -> bool {
    let Some(named) = name
        .rsplit_once('-')
        .map(|(_, last)| last)
        .filter(|last| last.starts_with(|first: char| first.is_ascii_digit()))
    else {
        return true;
    };
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    upstream
        .strip_prefix(named)
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn a_name_is_true_as_far_as_it_goes() {
        for (name, version, expected) in [
            ("docker-26.1.5", "26.1.5+dfsg1-9+deb13u1", true),
            ("docker-26.1.5", "26.1.50-1", false),
            ("docker-26.1.5", "26.1.6-1", false),
            ("docker-26.1.5", "26.1.5rc1-1", false),
            ("docker-28", "28.5.2+dfsg4-5", true),
            ("docker-28", "28", true),
            ("docker-28", "29.0.1", false),
            ("docker-2", "28.5.2", false),
            ("docker-28", "5:28.5.2", true),
            ("debian", "13.8", true),
            ("docker-ce", "28", true),
            ("default", "1", true),
        ] {
            assert_eq!(agree(name, version), expected, "{name} {version}");
        }
    }
}
