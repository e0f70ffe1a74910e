//! The closure of a request over what packages depend on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
};

use rubus_service::suggest::nearest;

use super::{
    packages::Package,
    relation::{self, Alternative, Relation},
    sources::{DEFAULT_RELEASE, pool_of},
    version::Version,
};

/// Packages that belong together: what one service, or one kernel, asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub packages: BTreeSet<String>,
    /// What is left out though something depends on it.
    pub exclude: BTreeSet<String>,
    /// Where the packages asked for come from, if not from the default release.
    pub suite: Option<String>,
    /// Who asks: the file that people edit.
    pub origin: String,
}

/// Why a request cannot be met.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no package of that name.
    #[error("there is no package {name:?} in {suite}{hint}")]
    NoSuchPackage {
        /// The name.
        name: String,
        /// Where it was looked for.
        suite: String,
        /// What may have been meant, as the end of the sentence.
        hint: String,
    },
    /// A package needs what is not there.
    #[error("nothing in {suite} meets the dependency {relation:?} ({hint}): {chain}")]
    Unmet {
        /// Where it was looked for.
        suite: String,
        /// What is needed.
        relation: String,
        /// What is there instead.
        hint: String,
        /// Who needs it, from the request on.
        chain: String,
    },
    /// A package describes its dependencies in a way that cannot be read.
    #[error("the dependencies of {package} cannot be understood: {reason}")]
    Malformed {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// The suite was not loaded.
    #[error("the suite {0} is not loaded")]
    NotLoaded(String),
}

/// The packages of one pool: of each name, the highest version.
#[derive(Debug, Default)]
struct Index {
    packages: BTreeMap<String, Package>,
    /// Virtual names: who provides them, in which version, most basic first.
    provided: HashMap<String, Vec<(String, Option<Version>)>>,
}

impl Index {
    fn new(packages: impl IntoIterator<Item = Package>) -> Result<Self, ResolveError> {
        let mut index = Self::default();
        for package in packages {
            match index.packages.get(&package.name) {
                Some(known) if known.version >= package.version => {}
                _ => {
                    index.packages.insert(package.name.clone(), package);
                }
            }
        }
        index.collect_provided()?;
        Ok(index)
    }

    fn collect_provided(&mut self) -> Result<(), ResolveError> {
        self.provided.clear();
        for package in self.packages.values() {
            for Relation(alternatives) in parse(package, &package.provides)? {
                for Alternative { name, version } in alternatives {
                    let version = version.map(|(_, version)| version);
                    let providers = self.provided.entry(name).or_default();
                    providers.push((package.name.clone(), version));
                }
            }
        }
        let packages = &self.packages;
        for providers in self.provided.values_mut() {
            // The sort is stable, and they were added in the order of names.
            providers.sort_by_key(|(name, _)| packages[name].priority);
        }
        Ok(())
    }

    /// What may stand for an alternative: the package of that name, then those
    /// that provide it.
    fn candidates(&self, wanted: &Alternative) -> Vec<&Package> {
        let own = self
            .packages
            .get(&wanted.name)
            .filter(|package| wanted.accepts(&package.version));
        let providers = self
            .provided
            .get(&wanted.name)
            .into_iter()
            .flatten()
            .filter(|(_, version)| wanted.accepts_provided(version.as_ref()))
            .map(|(name, _)| &self.packages[name]);
        own.into_iter().chain(providers).collect()
    }
}

/// All packages that can be asked for.
#[derive(Debug, Default)]
pub struct Universe {
    pools: BTreeMap<String, Index>,
}

impl Universe {
    /// Adds the packages of a pool.
    ///
    /// # Errors
    /// When a package's `Provides` cannot be understood.
    pub fn add(
        &mut self,
        pool: &str,
        packages: impl IntoIterator<Item = Package>,
    ) -> Result<(), ResolveError> {
        self.pools.insert(pool.to_owned(), Index::new(packages)?);
        Ok(())
    }

    /// Puts packages in the place of those of the same name in their pools,
    /// whichever version is higher.
    ///
    /// # Errors
    /// When a package's `Provides` cannot be understood.
    pub fn replace(
        &mut self,
        packages: impl IntoIterator<Item = Package>,
    ) -> Result<(), ResolveError> {
        let mut changed = BTreeSet::new();
        for package in packages {
            let pool = pool_of(package.suite.name).map(|pool| pool.name);
            if let Some((name, index)) =
                pool.and_then(|name| Some((name, self.pools.get_mut(name)?)))
            {
                index.packages.insert(package.name.clone(), package);
                changed.insert(name);
            }
        }
        for name in changed {
            if let Some(index) = self.pools.get_mut(name) {
                index.collect_provided()?;
            }
        }
        Ok(())
    }

    /// The packages asked for and everything that they depend on, by name.
    /// Recommendations do not count. The same request on the same universe
    /// gives the same packages.
    ///
    /// # Errors
    /// When a package does not exist, or a dependency cannot be met.
    pub fn closure(&self, request: &Request) -> Result<Vec<&Package>, ResolveError> {
        let index = |name: &str| {
            self.pools
                .get(name)
                .ok_or_else(|| ResolveError::NotLoaded(name.to_owned()))
        };
        let main = index(DEFAULT_RELEASE)?;
        let other = match request.suite.as_deref() {
            None | Some(DEFAULT_RELEASE) => None,
            Some(suite) => Some((suite, index(suite)?)),
        };
        let search = Search {
            request,
            main,
            other,
        };
        // A dependency is first taken from the main pool. Where that version
        // turns out to be too old for something else, the search begins anew
        // with the other pool's version; it ends, as each round pins one more.
        let mut pinned = BTreeMap::new();
        loop {
            match search.run(&pinned)? {
                Outcome::Closure(packages) => return Ok(packages),
                Outcome::Pin(package) => pinned.insert(package.name.as_str(), package),
            };
        }
    }
}

enum Outcome<'a> {
    Closure(Vec<&'a Package>),
    /// The main pool's version of this package will not do.
    Pin(&'a Package),
}

struct Search<'a, 'r> {
    request: &'r Request,
    main: &'a Index,
    other: Option<(&'r str, &'a Index)>,
}

type Chosen<'a> = BTreeMap<&'a str, &'a Package>;

impl<'a> Search<'a, '_> {
    fn run(&self, pinned: &Chosen<'a>) -> Result<Outcome<'a>, ResolveError> {
        let mut chosen = Chosen::new();
        let mut reasons = Reasons::default();
        let mut queue = VecDeque::new();
        for name in &self.request.packages {
            let package = self.named(name)?;
            chosen.insert(&package.name, package);
            queue.push_back(package);
        }
        while let Some(package) = queue.pop_front() {
            for relation in parse(package, &package.depends)? {
                if is_met(&relation, &chosen) {
                    continue;
                }
                match self.choose(&relation, &chosen, pinned) {
                    Choice::LeftOut => {}
                    Choice::Take(new) => {
                        chosen.insert(&new.name, new);
                        reasons.add(new, package);
                        queue.push_back(new);
                    }
                    Choice::Pin(newer) => return Ok(Outcome::Pin(newer)),
                    Choice::None => {
                        return Err(ResolveError::Unmet {
                            suite: self.suites(),
                            hint: self.what_is_there(&relation, &chosen),
                            chain: reasons.chain(package, &relation),
                            relation: relation.to_string(),
                        });
                    }
                }
            }
        }
        Ok(Outcome::Closure(chosen.into_values().collect()))
    }

    /// A package that the request names.
    fn named(&self, name: &str) -> Result<&'a Package, ResolveError> {
        let (suite, index) = self.other.unwrap_or((DEFAULT_RELEASE, self.main));
        index.packages.get(name).ok_or_else(|| {
            let hint = if let Some(providers) = index.provided.get(name) {
                let names: Vec<&str> = providers.iter().map(|(name, _)| name.as_str()).collect();
                format!(
                    "; it is a virtual package, of which there are {}",
                    names.join(", ")
                )
            } else if let Some(package) = self.main.packages.get(name) {
                format!("; {DEFAULT_RELEASE} has it in version {}", package.version)
            } else {
                let names = index.packages.keys().map(String::as_str);
                nearest(name, names)
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
            };
            ResolveError::NoSuchPackage {
                name: name.to_owned(),
                suite: suite.to_owned(),
                hint,
            }
        })
    }

    fn choose(&self, relation: &Relation, chosen: &Chosen<'a>, pinned: &Chosen<'a>) -> Choice<'a> {
        let mut newer = None;
        for wanted in &relation.0 {
            if self.request.exclude.contains(&wanted.name) {
                return Choice::LeftOut;
            }
            let other = self.other.map(|(_, index)| index);
            let indices = [Some(self.main), other].into_iter().flatten();
            // What is pinned comes first, or it would never be reached.
            let pin = pinned
                .get(wanted.name.as_str())
                .filter(|package| wanted.accepts(&package.version))
                .copied();
            let candidates: Vec<&'a Package> = pin
                .into_iter()
                .chain(indices.flat_map(|index| index.candidates(wanted)))
                .collect();
            for package in candidates {
                if self.request.exclude.contains(&package.name) {
                    return Choice::LeftOut;
                }
                let pinned_to = pinned.get(package.name.as_str());
                match chosen.get(package.name.as_str()) {
                    None if pinned_to.is_none_or(|pin| std::ptr::eq(*pin, package)) => {
                        return Choice::Take(package);
                    }
                    // Another version of it is in already, because someone else
                    // needed it; the request itself is not overruled.
                    Some(_)
                        if pinned_to.is_none()
                            && !self.request.packages.contains(&package.name) =>
                    {
                        newer.get_or_insert(package);
                    }
                    _ => {}
                }
            }
        }
        newer.map_or(Choice::None, Choice::Pin)
    }

    fn suites(&self) -> String {
        match self.other {
            Some((other, _)) => format!("{DEFAULT_RELEASE} and {other}"),
            None => DEFAULT_RELEASE.to_owned(),
        }
    }

    /// Which versions of the packages in a relation there are.
    fn what_is_there(&self, relation: &Relation, chosen: &Chosen<'a>) -> String {
        let mut found = BTreeSet::new();
        for Alternative { name, .. } in &relation.0 {
            if let Some(package) = chosen.get(name.as_str()) {
                found.insert(format!("{name} {} is asked for", package.version));
            }
            for index in [Some(self.main), self.other.map(|(_, index)| index)]
                .into_iter()
                .flatten()
            {
                if let Some(package) = index.packages.get(name) {
                    found.insert(format!(
                        "{} has {name} {}",
                        package.suite.name, package.version
                    ));
                }
            }
        }
        if found.is_empty() {
            "there is no such package".into()
        } else {
            found.into_iter().collect::<Vec<_>>().join(", ")
        }
    }
}

enum Choice<'a> {
    /// It is met by what the request leaves out.
    LeftOut,
    Take(&'a Package),
    Pin(&'a Package),
    None,
}

fn is_met(relation: &Relation, chosen: &Chosen<'_>) -> bool {
    relation.0.iter().any(|wanted| {
        chosen
            .get(wanted.name.as_str())
            .is_some_and(|package| wanted.accepts(&package.version))
            || chosen.values().any(|package| provides(package, wanted))
    })
}

fn provides(package: &Package, wanted: &Alternative) -> bool {
    // Parsing is the slower part, and hardly ever needed.
    package.provides.contains(&wanted.name)
        && relation::parse(&package.provides).is_ok_and(|provided| {
            provided.iter().flat_map(|relation| &relation.0).any(|own| {
                let version = own.version.as_ref().map(|(_, version)| version);
                own.name == wanted.name && wanted.accepts_provided(version)
            })
        })
}

fn parse(package: &Package, field: &str) -> Result<Vec<Relation>, ResolveError> {
    relation::parse(field).map_err(|error| ResolveError::Malformed {
        package: package.name.clone(),
        reason: format!("{error:#}"),
    })
}

/// Who brought each package in.
#[derive(Default)]
struct Reasons<'a>(HashMap<&'a str, &'a str>);

impl<'a> Reasons<'a> {
    fn add(&mut self, package: &'a Package, needed_by: &'a Package) {
        self.0.insert(&package.name, &needed_by.name);
    }

    fn chain(&self, package: &Package, relation: &impl fmt::Display) -> String {
        let mut names = vec![package.name.as_str()];
        while let Some(name) = self.0.get(names[names.len() - 1]) {
            names.push(name);
        }
        names.reverse();
        format!("{} needs {relation}", names.join(" needs "))
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
