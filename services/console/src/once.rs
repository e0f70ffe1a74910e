//! What the settings ask to be done at boot: files to write, and commands.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use rubus_config::{
    files,
    settings::{self, Encoding, Settings, WriteFile},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{accounts::Files, place::Place, supervisor::unblock_signals};

/// What was done once, kept over boots: the digest of what was asked for.
const DONE: &str = "/var/lib/rubus/console/done";
/// Whether this boot's commands have run, when the console starts again.
const BOOTED: &str = "/run/rubus/console-booted";
/// More than a file on a card should get from settings.
const MOST_BYTES: u64 = 64 << 20;

/// The user whose folders and links lead where they say: root.
const TRUSTED: u32 = 0;

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// `bootcmd`: once a boot.
    boot: bool,
    /// `write_files` and `runcmd`: once, until they change.
    once: bool,
}

fn due(settings: &Settings, done: &str, booted: bool) -> Due {
    let nothing = settings.write_files.is_empty() && settings.runcmd.is_empty();
    Due {
        boot: !booted && !settings.bootcmd.is_empty(),
        once: !nothing && done.trim() != digest(settings),
    }
}

/// Stands for everything that is done once.
fn digest(settings: &Settings) -> String {
    let asked = json!([settings.write_files, settings.runcmd]).to_string();
    Sha256::digest(asked)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Does what is due. Whoever asks for something that hangs still gets a login,
/// so this belongs into a thread of its own. After a power cut on the way, what
/// is done once is done again.
pub(crate) fn run(settings: &Settings, accounts: &Files) {
    let done = fs::read_to_string(DONE).unwrap_or_default();
    let due = due(settings, &done, Path::new(BOOTED).exists());
    if due.boot {
        for (number, command) in settings.bootcmd.iter().enumerate() {
            tell(&format!("bootcmd[{number}]"), execute(command));
        }
    }
    tell(BOOTED, fs::write(BOOTED, "").map_err(|it| it.to_string()));
    if !due.once {
        return;
    }
    for file in &settings.write_files {
        tell(file.path.as_str(), write(file, accounts));
    }
    for (number, command) in settings.runcmd.iter().enumerate() {
        tell(&format!("runcmd[{number}]"), execute(command));
    }
    let kept = files::replace(Path::new(DONE), digest(settings).as_bytes(), 0o600);
    let again = |error| format!("cannot be written, so all is done again: {error}");
    tell(DONE, kept.map_err(again));
}

fn tell(what: &str, outcome: Result<(), String>) {
    if let Err(error) = outcome {
        eprintln!("{what}: {error}");
    }
}

fn execute(command: &settings::Command) -> Result<(), String> {
    let mut process = match command {
        settings::Command::Shell(line) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", line]);
            shell
        }
        settings::Command::Program(words) => {
            let (program, arguments) = words.split_first().ok_or("it is empty")?;
            let mut process = Command::new(program);
            process.args(arguments);
            process
        }
    };
    unblock_signals(&mut process);
    let status = process
        .stdin(Stdio::null())
        .current_dir("/")
        .status()
        .map_err(|error| format!("cannot be run: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ended with {status}"))
    }
}

fn write(file: &WriteFile, accounts: &Files) -> Result<(), String> {
    let content = content(file)?;
    let mode = u32::from_str_radix(file.permissions.as_str(), 8)
        .map_err(|_| "its permissions are not octal".to_owned())?;
    let owner = owner(file.owner.as_str(), accounts)?;
    let path = Path::new(file.path.as_str());
    let placed = Place::make(Path::new("/"), path, TRUSTED).and_then(|place| {
        if file.append {
            place.append(&content, mode, owner)
        } else {
            place.replace(&content, mode, owner)
        }
    });
    placed.map_err(|error| format!("cannot be written: {error}"))
}

fn content(file: &WriteFile) -> Result<Vec<u8>, String> {
    let decode = || {
        let text: String = file.content.split_whitespace().collect();
        STANDARD
            .decode(text)
            .map_err(|error| format!("its content is not base64: {error}"))
    };
    match file.encoding {
        Encoding::Text => Ok(file.content.clone().into_bytes()),
        Encoding::Base64 => decode(),
        Encoding::GzipBase64 => {
            let mut content = Vec::new();
            GzDecoder::new(decode()?.as_slice())
                .take(MOST_BYTES + 1)
                .read_to_end(&mut content)
                .map_err(|error| format!("its content is not gzip: {error}"))?;
            if content.len() as u64 > MOST_BYTES {
                return Err(format!("it is larger than {} MiB", MOST_BYTES >> 20));
            }
            Ok(content)
        }
    }
}

/// The numbers of `user:group`; the group may be missing.
fn owner(text: &str, accounts: &Files) -> Result<(u32, u32), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let entry = |file: &str, name: &str, field: usize| -> Option<u32> {
        let line = file
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(field)?.parse().ok()
    };
    let known = |file: &str, name: &str| {
        let number = name.parse().ok();
        number
            .or_else(|| entry(file, name, 2))
            .ok_or_else(|| format!("there is no user or group {name}"))
    };
    let uid = known(&accounts.passwd, user)?;
    let gid = match group {
        "" => entry(&accounts.passwd, user, 3).unwrap_or(uid),
        group => known(&accounts.group, group)?,
    };
    Ok((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::tests::settings;

    #[test]
    fn commands_of_the_boot_run_once_a_boot_and_the_rest_once_until_it_changes() {
        let asked = settings(json!({ "bootcmd": ["a"], "runcmd": ["b"] }));
        let all = Due {
            boot: true,
            once: true,
        };
        assert_eq!(due(&asked, "", false), all);
        assert_eq!(
            due(&asked, "", true),
            Due { boot: false, ..all },
            "the console started again before all was done"
        );
        let done = digest(&asked) + "\n";
        assert_eq!(due(&asked, &done, false), Due { once: false, ..all });
        for other in [
            json!({ "bootcmd": ["a"], "runcmd": ["b", "c"] }),
            json!({ "bootcmd": ["a"], "runcmd": ["b"], "write_files": [{ "path": "/x" }] }),
        ] {
            assert!(due(&settings(other), &done, true).once);
        }
        let nothing = Due {
            boot: false,
            once: false,
        };
        assert_eq!(due(&settings(json!({})), "", false), nothing);
    }

    fn file(json: serde_json::Value) -> WriteFile {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn content_is_text_base64_or_gzip() {
        for (encoding, text) in [
            ("text", "hello\n"),
            ("b64", "aGVs\n  bG8K"),
            ("gz+b64", "H4sIAAAAAAAAA8tIzcnJ5wIAIDA6NgYAAAA="),
        ] {
            let file = file(json!({ "path": "/x", "content": text, "encoding": encoding }));
            assert_eq!(content(&file).unwrap(), b"hello\n", "{encoding}");
        }
        for (encoding, word) in [("b64", "base64"), ("gz+b64", "gzip")] {
            let text = if encoding == "b64" { "*" } else { "aGVsbG8K" };
            let file = file(json!({ "path": "/x", "content": text, "encoding": encoding }));
            assert!(content(&file).unwrap_err().contains(word));
        }
    }

    #[test]
    fn owners_are_names_or_numbers() {
        let accounts = Files {
            passwd: "root:x:0:0::/:\nanna:x:1001:1002::/:\n".into(),
            group: "root:x:0:\ndocker:x:998:anna\n".into(),
            shadow: String::new(),
        };
        for (text, numbers) in [
            ("root:root", (0, 0)),
            ("anna", (1001, 1002)),
            ("anna:docker", (1001, 998)),
            ("5:7", (5, 7)),
        ] {
            assert_eq!(owner(text, &accounts), Ok(numbers), "{text}");
        }
        assert!(owner("bert:root", &accounts).unwrap_err().contains("bert"));
    }

    #[test]
    fn commands_that_fail_are_told() {
        let command = |json| serde_json::from_value(json).unwrap();
        assert_eq!(execute(&command(json!("true"))), Ok(()));
        assert_eq!(execute(&command(json!(["sh", "-c", "exit 0"]))), Ok(()));
        let failed = execute(&command(json!("exit 3"))).unwrap_err();
        assert!(failed.contains('3'), "{failed}");
        assert!(execute(&command(json!(["/absent"]))).is_err());
        assert!(execute(&command(json!([]))).is_err());
    }
}
