//! Puts the people of the settings into effect: the files that name them, their
//! homes and keys, and what sshd asks of them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rubus_config::settings::Settings;

use crate::{
    accounts::{Accounts, accounts, numbers},
    etc::Etc,
    home, tools,
};

/// Where all homes are.
const HOMES: &str = "/home";
/// Keys, one file a person, where sshd looks for them.
const KEYS: &str = "/run/console/keys";
/// Who may become root; sudo includes it.
const SUDOERS: &str = "/run/console/sudoers";

/// Makes everyone of the settings, and tells what was refused.
///
/// # Errors
/// When the files cannot be written: then somebody may not be able to log in.
pub(crate) fn put(etc: &Etc, settings: &Settings) -> Result<Accounts, String> {
    let base = etc.base()?;
    let numbers = numbers(settings, &owners(Path::new(HOMES)), &base.passwd);
    let accounts = accounts(&base, settings, &numbers);
    for line in &accounts.refused {
        eprintln!("{line}");
    }
    etc.write(&accounts)?;
    tools::replace(Path::new(SUDOERS), &accounts.sudoers, 0o440)?;
    put_keys(Path::new(KEYS), &accounts)?;
    for person in &accounts.people {
        let home = Path::new(HOMES).join(&person.name);
        if let Err(error) = home::ensure(&home, Path::new("/etc/skel"), person.number) {
            eprintln!("{error}");
        }
    }
    Ok(accounts)
}

/// Whose homes there are: files belong to numbers, so whoever has a home has
/// the number that owns it.
fn owners(homes: &Path) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(homes).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let meta = entry.metadata().ok()?;
            meta.is_dir().then(|| (name, meta.uid()))
        })
        .collect()
}

/// Writes everyone's keys. At no moment somebody who has a key is without it.
fn put_keys(folder: &Path, accounts: &Accounts) -> Result<(), String> {
    tools::make_folder(folder)?;
    for person in &accounts.people {
        tools::replace(&folder.join(&person.name), &person.keys, 0o644)?;
    }
    let others = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        !accounts
            .people
            .iter()
            .any(|person| name == person.name.as_str())
    };
    let removed = fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| Ok(entry?.path()));
        let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
        paths
            .into_iter()
            .filter(others)
            .try_for_each(fs::remove_file)
    });
    removed.map_err(|error| {
        format!(
            "cannot remove keys from {}: {error}; whoever had them may still log in",
            folder.display()
        )
    })
}

/// What sshd is told before its own configuration: of the same word it takes
/// the first. Who may log in is not in it: sshd looks that up at every login,
/// and is deaf for a moment when it is told something new.
pub(crate) fn sshd_config(settings: &Settings) -> String {
    let methods = if settings.ssh.password_authentication {
        "AuthenticationMethods any\nPasswordAuthentication yes\n"
    } else {
        "AuthenticationMethods publickey\nPasswordAuthentication no\n"
    };
    format!(
        "Port {}\n{methods}Include /etc/ssh/sshd_config\n",
        settings.ssh.port
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::{Person, tests::settings};

    #[test]
    fn keys_are_there_for_those_who_have_them_and_nobody_else() {
        let folder = std::env::temp_dir().join(format!("keys-{}", std::process::id()));
        let put = |people: &[(&str, &str)]| {
            let people = people.iter().map(|(name, keys)| Person {
                name: (*name).to_owned(),
                number: 1,
                keys: (*keys).to_owned(),
            });
            let accounts = Accounts {
                people: people.collect(),
                ..Accounts::default()
            };
            put_keys(&folder, &accounts).unwrap();
        };
        put(&[("anna", "a"), ("bert", "b")]);
        put(&[("bert", "c")]);
        assert!(!folder.join("anna").exists());
        assert_eq!(fs::read_to_string(folder.join("bert")).unwrap(), "c");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_home_tells_the_number_of_its_owner() {
        let homes = std::env::temp_dir().join(format!("homes-{}", std::process::id()));
        fs::create_dir_all(homes.join("anna")).unwrap();
        fs::write(homes.join("a-file"), "").unwrap();
        let own = fs::metadata(&homes).unwrap().uid();
        assert_eq!(owners(&homes), BTreeMap::from([("anna".to_owned(), own)]));
        assert!(owners(Path::new("/nonexistent")).is_empty());
        fs::remove_dir_all(homes).unwrap();
    }

    #[test]
    fn sshd_takes_keys_only_unless_told_otherwise() {
        let of = |json| sshd_config(&settings(json));
        assert_eq!(
            of(json!({})),
            "Port 22\nAuthenticationMethods publickey\n\
             PasswordAuthentication no\nInclude /etc/ssh/sshd_config\n"
        );
        let text = of(json!({
            "users": { "anna": {} },
            "ssh": { "port": 2022, "password_authentication": true },
        }));
        assert!(text.starts_with("Port 2022\nAuthenticationMethods any\n"));
        assert!(text.contains("PasswordAuthentication yes\n"));
    }
}
