//! What of an archive is kept.

use std::{fmt, sync::Arc};

use anyhow::{Context, Result};
use glob::{MatchOptions, Pattern};

/// What no node has a use for. Licences have to ship, so they stay.
const LEAN_DROPS: &[&str] = &[
    // Conversions between character sets other than UTF-8.
    "usr/lib/*/gconv/**",
    "usr/share/bash-completion/**",
    "usr/share/bug/**",
    "usr/share/doc-base/**",
    "usr/share/doc/*/**",
    "usr/share/fish/vendor_completions.d/**",
    "usr/share/gtk-doc/**",
    "usr/share/info/**",
    "usr/share/lintian/**",
    "usr/share/locale/**",
    "usr/share/man/**",
    "usr/share/reportbug/**",
    "usr/share/zsh/vendor-completions/**",
];
const LEAN_KEEPS: &[&str] = &["usr/share/doc/*/copyright"];

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Decides by its path whether an entry is kept. A folder that is dropped is
/// made again, as 0755 and root's, when something below it is kept.
#[derive(Clone, Default)]
pub struct Filter {
    id: String,
    drops: Vec<Pattern>,
    keeps: Vec<Pattern>,
    predicates: Vec<Predicate>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.id).finish()
    }
}

impl Filter {
    /// Keeps everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Drops documentation (but for licences), translations and the like.
    ///
    /// # Errors
    /// Never: the patterns are constants.
    pub fn lean() -> Result<Self> {
        let mut filter = Self::everything().dropping(LEAN_DROPS)?;
        for glob in LEAN_KEEPS {
            filter.keeps.push(Pattern::new(glob)?);
            filter.id.push_str(&format!("keep {glob}\n"));
        }
        Ok(filter)
    }

    /// Drops what matches one of the globs: `*` does not cross a `/`, `**` does.
    ///
    /// # Errors
    /// When one is not a glob.
    pub fn dropping<S: AsRef<str>>(mut self, globs: &[S]) -> Result<Self> {
        for glob in globs {
            let glob = glob.as_ref();
            let pattern = Pattern::new(glob).with_context(|| format!("{glob:?} is not a glob"))?;
            self.drops.push(pattern);
            self.id.push_str(&format!("drop {glob}\n"));
        }
        Ok(self)
    }

    /// Drops what the predicate is false for. The id stands for the predicate:
    /// trees are cached by it, so another predicate must have another id.
    #[must_use]
    pub fn keeping_if(
        mut self,
        id: &str,
        predicate: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicates.push(Arc::new(predicate));
        self.id.push_str(&format!("if {id}\n"));
        self
    }

    /// What distinguishes it from other filters.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the entry at a path is kept.
    pub fn keeps(&self, path: &str) -> bool {
        let any = |patterns: &[Pattern]| {
            patterns
                .iter()
                .any(|pattern| pattern.matches_with(path, OPTIONS))
        };
        (!any(&self.drops) || any(&self.keeps))
            && self.predicates.iter().all(|predicate| predicate(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lean_filter_drops_documentation_but_keeps_licences() {
        let filter = Filter::lean().unwrap();
        for (path, kept) in [
            ("usr/bin/docker", true),
            ("usr/share/doc/docker.io", true),
            ("usr/share/doc/docker.io/copyright", true),
            ("usr/share/doc/docker.io/changelog.gz", false),
            ("usr/share/doc/docker.io/examples/a/b", false),
            ("usr/share/doc/docker.io/examples/copyright", false),
            ("usr/share/man/man1/docker.1.gz", false),
            ("usr/share/man/de/man1/docker.1.gz", false),
            ("usr/share/manual", true),
            ("usr/share/locale/de/LC_MESSAGES/x.mo", false),
        ] {
            assert_eq!(filter.keeps(path), kept, "{path}");
        }
    }

    #[test]
    fn a_caller_narrows_it_further() {
        let filter = Filter::everything()
            .dropping(&["etc/*.d/*"])
            .unwrap()
            .keeping_if("no b", |path| path != "b");
        assert!(filter.keeps("a"));
        assert!(!filter.keeps("b"));
        assert!(!filter.keeps("etc/x.d/y"));
        assert!(filter.keeps("etc/x.d/y/z"));
    }

    #[test]
    fn filters_that_differ_have_different_ids() {
        let ids = [
            Filter::everything(),
            Filter::lean().unwrap(),
            Filter::everything().dropping(&["a"]).unwrap(),
            Filter::everything().keeping_if("a", |_| true),
        ]
        .map(|filter| filter.id().to_owned());
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{id}");
        }
    }
}
