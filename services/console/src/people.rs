//! Puts the people of the settings into effect: the files that name them, their
//! homes and keys, and what sshd asks of them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use nix::mount::{MsFlags, mount};
use rubus_config::settings::Settings;

use crate::{
    accounts::{Accounts, Files, accounts, numbers},
    home, tools,
};

/// The files of the image, before anything is mounted over them.
const IMAGE: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/shadow"];
/// Where ours are; memory, so a node without settings has none left.
const RUN: &str = "/run/console";
/// Which number belongs to whom, kept with the homes.
const NUMBERS: &str = "/var/lib/rubus/console/users.json";

/// Reads the files of the image.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn image() -> Result<Files, String> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let [passwd, group, shadow] = IMAGE;
    Ok(Files {
        passwd: read(passwd)?,
        group: read(group)?,
        shadow: read(shadow)?,
    })
}

/// Mounts copies over the files of the image; they are written in place from
/// then on. Even programs that run before that have to find root in them.
///
/// # Errors
/// When the kernel does not let us.
pub(crate) fn mount_files(image: &Files) -> Result<(), String> {
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

fn with_texts(files: &Files) -> impl Iterator<Item = (&'static str, &str)> {
    let texts = [&files.passwd, &files.group, &files.shadow];
    IMAGE.into_iter().zip(texts.map(String::as_str))
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
pub(crate) fn put(image: &Files, settings: &Settings) -> Result<Accounts, String> {
    let known = known_numbers();
    let numbers = numbers(settings, &known);
    if numbers != known
        && let Err(error) = keep_numbers(&numbers)
    {
        // They follow from the same settings again, unless those change.
        eprintln!("cannot keep the numbers of users in {NUMBERS}: {error}");
    }
    let accounts = accounts(image, settings, &numbers);
    for line in &accounts.refused {
        eprintln!("{line}");
    }
    for (target, text) in with_texts(&accounts.files) {
        tools::write(Path::new(&ours(target)), text)?;
    }
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
