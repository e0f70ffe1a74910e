//! Puts the people of the settings into effect: the files that name them, their
//! homes and keys, and what sshd asks of them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

use nix::{
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};
use rubus_config::settings::Settings;

use crate::{
    accounts::{Accounts, Files, accounts, numbers, without},
    home, tools,
};

/// The files that name everyone.
const FILES: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/shadow"];
/// Where ours are; memory, so a node without settings has none left.
const RUN: &str = "/run/console";
/// Which number belongs to whom, kept with the homes.
const NUMBERS: &str = "/var/lib/rubus/console/users.json";

/// What people are added to.
#[derive(Debug)]
pub(crate) enum Base {
    /// The files of the image. Copies in memory are mounted over them, which are
    /// written in place from then on.
    Image(Files),
    /// Files that packages add system users to, by replacing them: nothing may
    /// be mounted there. They are read anew each time.
    Own,
}

impl Base {
    /// Finds out which of them this root has. Even programs that run before
    /// anyone is added have to find root.
    ///
    /// # Errors
    /// When a file cannot be read, or the kernel does not let us mount.
    pub(crate) fn prepare() -> Result<Self, String> {
        let flags = statvfs("/etc")
            .map_err(|error| format!("cannot tell whether /etc can be written to: {error}"))?
            .flags();
        if !flags.contains(FsFlags::ST_RDONLY) {
            return Ok(Self::Own);
        }
        let image = read_files()?;
        mount_copies(&image)?;
        Ok(Self::Image(image))
    }

    /// Whether this root can be written to.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own)
    }

    /// The files without anyone of the settings.
    fn files(&self, known: &BTreeMap<String, u32>) -> Result<Files, String> {
        match self {
            Self::Image(image) => Ok(image.clone()),
            Self::Own => Ok(without(&read_files()?, known.keys().map(String::as_str))),
        }
    }

    fn write(&self, files: &Files) -> Result<(), String> {
        for (target, text) in with_texts(files) {
            match self {
                Self::Image(_) => tools::write(Path::new(&ours(target)), text)?,
                Self::Own => replace(Path::new(target), text)
                    .map_err(|error| format!("cannot write {target}: {error}"))?,
            }
        }
        Ok(())
    }
}

fn read_files() -> Result<Files, String> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let [passwd, group, shadow] = FILES;
    Ok(Files {
        passwd: read(passwd)?,
        group: read(group)?,
        shadow: read(shadow)?,
    })
}

fn mount_copies(image: &Files) -> Result<(), String> {
    for (target, text) in with_texts(image) {
        let source = ours(target);
        tools::write(Path::new(&source), text)?;
        fs::set_permissions(&source, fs::Permissions::from_mode(mode(target)))
            .map_err(|error| format!("cannot protect {source}: {error}"))?;
        let none = None::<&str>;
        mount(Some(source.as_str()), target, none, MsFlags::MS_BIND, none)
            .map_err(|error| format!("cannot mount {source} at {target}: {error}"))?;
    }
    Ok(())
}

/// Puts a file in the place of another, with its owner and permissions: after a
/// power cut there is one of them.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let known = fs::metadata(path)?;
    if fs::read(path)? == text.as_bytes() {
        return Ok(());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".console");
    let temporary = Path::new(&temporary);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(known.permissions())?;
    chown(temporary, Some(known.uid()), Some(known.gid()))?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn with_texts(files: &Files) -> impl Iterator<Item = (&'static str, &str)> {
    let texts = [&files.passwd, &files.group, &files.shadow];
    FILES.into_iter().zip(texts.map(String::as_str))
}

fn ours(target: &str) -> String {
    format!("{RUN}/{}", target.trim_start_matches("/etc/"))
}

fn mode(target: &str) -> u32 {
    if target.ends_with("shadow") {
        0o600
    } else {
        0o644
    }
}

/// Makes everyone of the settings, and tells what was refused.
///
/// # Errors
/// When the files cannot be written: then nobody can log in.
pub(crate) fn put(base: &Base, settings: &Settings) -> Result<Accounts, String> {
    let known = known_numbers();
    let files = base.files(&known)?;
    let numbers = numbers(settings, &known, &files.passwd);
    if numbers != known
        && let Err(error) = keep_numbers(&numbers)
    {
        // They follow from the same settings again, unless those change.
        eprintln!("cannot keep the numbers of users in {NUMBERS}: {error}");
    }
    let accounts = accounts(&files, settings, &numbers);
    for line in &accounts.refused {
        eprintln!("{line}");
    }
    base.write(&accounts.files)?;
    let sudoers = format!("{RUN}/sudoers");
    tools::write(Path::new(&sudoers), &accounts.sudoers)?;
    let keys = format!("{RUN}/keys");
    // Whoever is no longer in the settings has no key any more.
    let _ = fs::remove_dir_all(&keys);
    tools::make_folder(Path::new(&keys))?;
    for person in &accounts.people {
        tools::write(&Path::new(&keys).join(&person.name), &person.keys)?;
        let home = format!("/home/{}", person.name);
        if let Err(error) = home::ensure(Path::new(&home), Path::new("/etc/skel"), person.number) {
            eprintln!("{error}");
        }
    }
    Ok(accounts)
}

fn known_numbers() -> BTreeMap<String, u32> {
    let text = fs::read(NUMBERS).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn keep_numbers(numbers: &BTreeMap<String, u32>) -> std::io::Result<()> {
    let temporary = format!("{NUMBERS}.new");
    fs::write(&temporary, serde_json::to_vec(numbers)?)?;
    fs::File::open(&temporary)?.sync_all()?;
    chown(&temporary, Some(0), Some(0))?;
    fs::rename(&temporary, NUMBERS)?;
    match Path::new(NUMBERS).parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
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
    use crate::accounts::tests::settings;

    #[test]
    fn a_file_is_replaced_with_its_permissions() {
        let folder = std::env::temp_dir().join(format!("console-people-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("shadow");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
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
