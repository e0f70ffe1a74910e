//! What a power cut left of services and variants that were being added or
//! removed goes at the next boot.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
};

use rubus_service::workshop;

use crate::{options::Options, report::report};

/// Deletes it, unless somebody adds or removes something now. That takes long
/// where much is left, so nobody waits for it.
pub(crate) fn tidy(options: &Options) {
    let folders: Vec<PathBuf> = workshops(options)
        .into_iter()
        .filter(|folder| !workshop::unfinished(folder).is_empty())
        .collect();
    if folders.is_empty() {
        return;
    }
    let delete = move || folders.iter().for_each(|it| delete_unfinished(it));
    let thread = thread::Builder::new().name("tidy".to_owned());
    if let Err(error) = thread.spawn(delete) {
        report(format_args!(
            "cannot delete what is unfinished: {error}; the next `ros service add` or \
             `ros engine add` does"
        ));
    }
}

/// Where services are added, and where variants are: a folder a service.
fn workshops(options: &Options) -> Vec<PathBuf> {
    let variants = fs::read_dir(options.added_variants());
    let variants = variants.into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = variants.map(|entry| entry.path()).collect();
    folders.push(options.own_services());
    folders
}

pub(crate) fn delete_unfinished(folder: &Path) {
    // Who holds the lock deletes what was there before.
    let lock = File::create(folder.join(workshop::LOCK));
    let Some(_lock) = lock.ok().filter(|lock| lock.try_lock().is_ok()) else {
        return;
    };
    for path in workshop::unfinished(folder) {
        if let Err(error) = fs::remove_dir_all(&path) {
            report(format_args!("cannot delete {}: {error}", path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_variants_are_made_in_folders_of_their_own() {
        let state = tempfile::tempdir().unwrap();
        let options = Options {
            state: state.path().to_path_buf(),
            ..Options::default()
        };
        assert_eq!(workshops(&options), [state.path().join("services")]);
        for service in ["console", "docker"] {
            fs::create_dir_all(state.path().join("variants").join(service)).unwrap();
        }
        let mut folders = workshops(&options);
        folders.sort_unstable();
        let expected = ["services", "variants/console", "variants/docker"];
        assert_eq!(folders, expected.map(|it| state.path().join(it)));
    }

    #[test]
    fn what_somebody_makes_now_is_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join(".web.new");
        fs::create_dir(&begun).unwrap();
        fs::create_dir(folder.path().join("docker-28")).unwrap();
        let lock = File::create(folder.path().join(workshop::LOCK)).unwrap();
        lock.lock().unwrap();
        delete_unfinished(folder.path());
        assert!(begun.exists());
        drop(lock);
        delete_unfinished(folder.path());
        assert!(!begun.exists());
        assert!(folder.path().join("docker-28").exists());
    }
}
