//! Secrets of functions, as files that only root reaches.
//!
//! `kept/NAMESPACE/NAME` is a secret. `given/NAMESPACE/FUNCTION/` is a folder
//! with copies of those that a function has, which its containers mount: a file
//! in a folder can be replaced as one step while they run, a file that is
//! mounted itself cannot. The copies are for every user, since functions run as
//! any; what keeps others away is the folder around all this.
//!
//! A power cut between the two leaves a copy that is older than the secret;
//! [`Secrets::refresh`] makes it good.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq;

use crate::{
    files,
    model::{self, FunctionId},
    provider::{Error, Result},
};

/// Most bytes of a secret: as many as Kubernetes takes.
const MOST_BYTES: usize = 1 << 20;
/// Most letters of a secret's name.
const NAME_LENGTH: usize = 253;

/// The secrets below a folder.
#[derive(Debug)]
pub struct Secrets {
    kept: PathBuf,
    given: PathBuf,
}

/// Whether a name can be that of a secret: a file's name with nothing to
/// misread in it.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty()
        && name.len() <= NAME_LENGTH
        && !name.starts_with('.')
        && name.bytes().all(plain)
}

impl Secrets {
    /// The secrets below a folder, which is made when the first one is kept.
    pub fn new(folder: &Path) -> Self {
        Self {
            kept: folder.join("kept"),
            given: folder.join("given"),
        }
    }

    /// The names of a namespace's secrets, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self, namespace: &str) -> Result<Vec<String>> {
        // A namespace becomes part of a path, wherever it comes from.
        if !model::is_name(namespace) {
            return Ok(Vec::new());
        }
        names(&self.kept.join(namespace)).map(|names| names.into_iter().collect())
    }

    /// Keeps a secret.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one of that name; else when it is too
    /// large, or cannot be written.
    pub fn create(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        let path = self.path(namespace, name)?;
        if path.exists() {
            return Err(Error::Exists);
        }
        self.keep(&path, value)
    }

    /// Gives a secret another value, for the functions that have it too.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name; else when it is too
    /// large, or cannot be written.
    pub fn replace(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        let path = self.path(namespace, name)?;
        if !path.exists() {
            return Err(Error::NotFound);
        }
        self.keep(&path, value)?;
        let folder = self.given.join(namespace);
        for function in names(&folder)? {
            let copy = folder.join(function).join(name);
            if copy.exists() {
                write(&copy, value, 0o444)?;
            }
        }
        Ok(())
    }

    /// Whether a secret is there and has this value, but for white space around
    /// it: editors end files with a line's end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is(&self, namespace: &str, name: &str, value: &[u8]) -> Result<bool> {
        let path = self.path(namespace, name)?;
        match fs::read(&path) {
            Ok(secret) => Ok(secret.trim_ascii().ct_eq(value.trim_ascii()).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name; else when it cannot
    /// be removed.
    pub fn remove(&self, namespace: &str, name: &str) -> Result<()> {
        let path = self.path(namespace, name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
            result => result.map_err(|error| failed("remove", &path, &error)),
        }
    }

    /// Checks that secrets are there.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first that is not, in upstream's words.
    pub fn check(&self, namespace: &str, names: &[String]) -> Result<()> {
        let missing = |name: &&String| {
            let path = self.path(namespace, name);
            !path.is_ok_and(|path| path.is_file())
        };
        match names.iter().find(missing) {
            Some(name) => Err(Error::Invalid(format!("unable to find secret: {name}"))),
            None => Ok(()),
        }
    }

    /// Gives a function its secrets: the folder for its containers, or nothing
    /// when it has none. What it had before and has no more stays until
    /// [`Secrets::settle`], for containers that still run.
    ///
    /// # Errors
    /// When one is not there, or a copy cannot be written.
    pub fn give(&self, function: &FunctionId, names: &[String]) -> Result<Option<PathBuf>> {
        if names.is_empty() {
            return Ok(None);
        }
        self.check(&function.namespace, names)?;
        let folder = self.folder(function);
        for name in names {
            let path = self.path(&function.namespace, name)?;
            let value = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
            let copy = folder.join(name);
            if fs::read(&copy).is_ok_and(|copy| copy == value) {
                continue;
            }
            self.make_private()?;
            write(&copy, &value, 0o444)?;
        }
        // The folders above are root's; this one is seen from the containers.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&folder, open).map_err(|error| failed("open", &folder, &error))?;
        Ok(Some(folder))
    }

    /// Takes from a function what it does not have any more.
    ///
    /// # Errors
    /// When a copy cannot be removed.
    pub fn settle(&self, function: &FunctionId, keep: &[String]) -> Result<()> {
        let folder = self.folder(function);
        if keep.is_empty() {
            return match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(failed("remove", &folder, &error))
                }
                _ => Ok(()),
            };
        }
        for name in names(&folder)? {
            if !keep.contains(&name) {
                let copy = folder.join(name);
                fs::remove_file(&copy).map_err(|error| failed("remove", &copy, &error))?;
            }
        }
        Ok(())
    }

    /// Whether a function was given secrets.
    pub fn has_given(&self, function: &FunctionId) -> bool {
        self.folder(function).exists()
    }

    /// The functions that were given secrets.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn given(&self) -> Result<Vec<FunctionId>> {
        let mut functions = Vec::new();
        for namespace in names(&self.given)? {
            for name in names(&self.given.join(&namespace))? {
                functions.push(FunctionId::new(&name, &namespace));
            }
        }
        Ok(functions)
    }

    /// Makes good what a power cut left of a function's copies: each is again
    /// what its secret is, where that is still there.
    ///
    /// # Errors
    /// When a copy cannot be written.
    pub fn refresh(&self, function: &FunctionId) -> Result<()> {
        let has: Vec<String> = names(&self.folder(function))?
            .into_iter()
            .filter(|name| {
                let name = std::slice::from_ref(name);
                self.check(&function.namespace, name).is_ok()
            })
            .collect();
        self.give(function, &has).map(drop)
    }

    fn folder(&self, function: &FunctionId) -> PathBuf {
        self.given.join(&function.namespace).join(&function.name)
    }

    fn path(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        if !is_name(name) {
            return Err(Error::Invalid(format!(
                "\"{name}\" cannot be the name of a secret: use at most {NAME_LENGTH} letters, digits, \"-\", \"_\" and \".\", and no \".\" at the front"
            )));
        }
        if !model::is_name(namespace) {
            return Err(Error::Invalid("namespace not valid".to_owned()));
        }
        Ok(self.kept.join(namespace).join(name))
    }

    fn keep(&self, path: &Path, value: &[u8]) -> Result<()> {
        if value.len() > MOST_BYTES {
            return Err(Error::Invalid(format!(
                "a secret of {} bytes is larger than the {MOST_BYTES} that one may have",
                value.len()
            )));
        }
        self.make_private()?;
        write(path, value, 0o600)
    }

    /// Makes the folders that nobody but root enters.
    fn make_private(&self) -> Result<()> {
        for folder in [&self.kept, &self.given] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| failed("make", folder, &error))?;
        }
        Ok(())
    }
}

fn write(path: &Path, value: &[u8], mode: u32) -> Result<()> {
    files::replace(path, value, mode).map_err(|error| failed("write", path, &error))
}

/// What a folder has, but for what a power cut left half-written; nothing when
/// there is no such folder.
fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let wrong = |error: &io::Error| failed("read", folder, error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(|error| wrong(&error))?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(|error| wrong(&error))?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_name(name)) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn seen(folder: &Path) -> Vec<(String, String)> {
        let all = names(folder).unwrap();
        let read = |name: &String| fs::read_to_string(folder.join(name)).unwrap();
        all.iter().map(|name| (name.clone(), read(name))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn a_secret_is_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(folder.path());
        assert_eq!(secrets.list("fn"), Ok(vec![]));
        secrets.create("fn", "token", b"one").unwrap();
        assert_eq!(secrets.create("fn", "token", b"x"), Err(Error::Exists));
        secrets.create("dev", "token", b"other").unwrap();
        secrets.create("fn", "a.b_C", b"\0\xff\n").unwrap();
        assert_eq!(secrets.list("fn"), Ok(list(&["a.b_C", "token"])));
        assert_eq!(secrets.replace("fn", "none", b"x"), Err(Error::NotFound));
        secrets.replace("fn", "token", b"two").unwrap();
        let path = folder.path().join("kept/fn/token");
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("kept")), 0o700);
        assert_eq!(mode(&folder.path().join("given")), 0o700);
        secrets.remove("fn", "token").unwrap();
        assert_eq!(secrets.remove("fn", "token"), Err(Error::NotFound));
        assert_eq!(secrets.list("dev"), Ok(list(&["token"])));
        assert_eq!(secrets.is("dev", "token", b"other\n"), Ok(true));
        assert_eq!(secrets.is("dev", "token", b"othe"), Ok(false));
        assert_eq!(secrets.is("dev", "none", b""), Ok(false));
        assert!(secrets.is("dev", "../token", b"").is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_and_large_values_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(folder.path());
        let long = "x".repeat(254);
        for name in [
            "", ".", "..", "a/b", "../a", ".hidden", "a b", "\u{e4}", &long,
        ] {
            let result = secrets.create("fn", name, b"x");
            assert!(matches!(result, Err(Error::Invalid(_))), "{name}");
            assert!(secrets.remove("fn", name).is_err(), "{name}");
        }
        fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
        fs::write(folder.path().join("elsewhere/token"), "x").unwrap();
        for namespace in ["../elsewhere", "..", "", "/etc", "a/b"] {
            assert_eq!(secrets.list(namespace), Ok(vec![]), "{namespace}");
            assert!(secrets.create(namespace, "token", b"x").is_err());
            assert!(secrets.is(namespace, "token", b"x").is_err());
            assert!(secrets.remove(namespace, "token").is_err());
        }
        let large = vec![0; MOST_BYTES + 1];
        assert!(secrets.create("fn", "large", &large).is_err());
        secrets.create("fn", "large", &large[1..]).unwrap();
        assert_eq!(secrets.list("fn"), Ok(list(&["large"])));
    }

    #[test]
    fn a_function_sees_its_own_and_what_becomes_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(folder.path());
        for name in ["a", "b", "c"] {
            secrets.create("fn", name, name.as_bytes()).unwrap();
        }
        let function = FunctionId::new("f", "fn");
        assert_eq!(secrets.give(&function, &[]), Ok(None));
        let missing = secrets.give(&function, &list(&["a", "none"]));
        let reason = "unable to find secret: none".to_owned();
        assert_eq!(missing, Err(Error::Invalid(reason)));

        let given = secrets.give(&function, &list(&["a", "b"])).unwrap();
        let given = given.unwrap();
        assert_eq!(seen(&given), pairs(&[("a", "a"), ("b", "b")]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&given), mode(&given.join("a"))), (0o755, 0o444));

        secrets.replace("fn", "a", b"new").unwrap();
        secrets.replace("fn", "c", b"new").unwrap();
        assert_eq!(seen(&given), pairs(&[("a", "new"), ("b", "b")]));

        // An update has both until the old containers are gone.
        let again = secrets.give(&function, &list(&["b", "c"])).unwrap();
        assert_eq!(again.as_ref(), Some(&given));
        assert_eq!(seen(&given).len(), 3);
        secrets.settle(&function, &list(&["b", "c"])).unwrap();
        assert_eq!(seen(&given), pairs(&[("b", "b"), ("c", "new")]));

        // One that is forgotten stays with who has it.
        secrets.remove("fn", "b").unwrap();
        assert_eq!(seen(&given).len(), 2);
        secrets.settle(&function, &[]).unwrap();
        assert!(!given.exists());
        secrets.settle(&function, &[]).unwrap();
    }

    #[test]
    fn what_a_power_cut_left_is_made_good() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(folder.path());
        secrets.create("fn", "a", b"old").unwrap();
        secrets.create("fn", "b", b"b").unwrap();
        let [here, gone] = ["here", "gone"].map(|name| FunctionId::new(name, "fn"));
        let given = secrets.give(&here, &list(&["a", "b"])).unwrap().unwrap();
        let orphan = secrets.give(&gone, &list(&["a"])).unwrap().unwrap();
        // The secret was written, the copies were not; a copy was begun.
        fs::write(folder.path().join("kept/fn/a"), "new").unwrap();
        fs::write(given.join(".b~"), "half").unwrap();
        secrets.remove("fn", "b").unwrap();

        assert_eq!(secrets.given(), Ok(vec![gone.clone(), here.clone()]));
        secrets.refresh(&here).unwrap();
        assert_eq!(fs::read(given.join("a")).unwrap(), b"new");
        assert_eq!(fs::read(given.join("b")).unwrap(), b"b");
        secrets.settle(&gone, &[]).unwrap();
        assert!(!orphan.exists());
        assert_eq!(secrets.given(), Ok(vec![here]));
    }
}
