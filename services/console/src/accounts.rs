//! The people of the settings, as `passwd`, `group`, `shadow` and `sudoers` say
//! it: a pure function of the files of the image and the settings.

use std::collections::{BTreeMap, BTreeSet};

use rubus_config::settings::{Settings, Sudo, User};
use serde::{Deserialize, Serialize};

/// The one who is always there.
pub(crate) const RUBUS: &str = "rubus";
/// The number of `rubus`; see service.toml.
pub(crate) const RUBUS_NUMBER: u32 = 1000;
/// Numbers of people end where Debian's `adduser` ends.
const LAST_NUMBER: u32 = 59_999;

/// The files of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// `/etc/passwd`
    pub(crate) passwd: String,
    /// `/etc/group`
    pub(crate) group: String,
    /// `/etc/shadow`
    pub(crate) shadow: String,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// The login name.
    pub(crate) name: String,
    /// The number of the user and of its own group.
    pub(crate) number: u32,
    /// The content of its `authorized_keys`.
    pub(crate) keys: String,
}

/// What the settings added to the files, so that it can be taken out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    /// Names of users that have entries of their own.
    names: BTreeSet<String>,
    /// Groups, each with a user who became a member.
    members: BTreeSet<(String, String)>,
}

impl Added {
    /// This and something else.
    pub(crate) fn and(&self, other: &Added) -> Added {
        Added {
            names: self.names.union(&other.names).cloned().collect(),
            members: self.members.union(&other.members).cloned().collect(),
        }
    }
}

/// What follows from the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// The files of the image with everyone in them.
    pub(crate) files: Files,
    /// What was added to the files.
    pub(crate) added: Added,
    /// Who may become root.
    pub(crate) sudoers: String,
    /// Everyone, in the order of their names.
    pub(crate) people: Vec<Person>,
    /// What was refused, as messages.
    pub(crate) refused: Vec<String>,
}

impl Accounts {
    /// How many ssh keys there are.
    pub(crate) fn keys(&self) -> usize {
        let keys = self.people.iter().map(|person| person.keys.lines().count());
        keys.sum()
    }
}

/// Numbers for all people of the settings. One that had a number keeps it, as
/// `known`, by name, tells: files belong to numbers. Of two with the same number
/// the first in the order of the names keeps it. Those that others have in
/// `passwd` are not given away.
pub(crate) fn numbers(
    settings: &Settings,
    known: &BTreeMap<String, u32>,
    passwd: &str,
) -> BTreeMap<String, u32> {
    let others: BTreeSet<u32> = passwd
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    let mut numbers = BTreeMap::from([(RUBUS.to_owned(), RUBUS_NUMBER)]);
    for (name, number) in known {
        let free = numbers.values().all(|taken| taken != number);
        if name != RUBUS && free && (RUBUS_NUMBER..=LAST_NUMBER).contains(number) {
            numbers.insert(name.clone(), *number);
        }
    }
    for name in settings.users.keys() {
        if !numbers.contains_key(name.as_str()) {
            let free = (RUBUS_NUMBER..=LAST_NUMBER).find(|number| {
                !others.contains(number) && numbers.values().all(|taken| taken != number)
            });
            numbers.extend(free.map(|number| (name.as_str().to_owned(), number)));
        }
    }
    numbers
}

/// What follows from the settings and the files of the image.
pub(crate) fn accounts(
    image: &Files,
    settings: &Settings,
    numbers: &BTreeMap<String, u32>,
) -> Accounts {
    let mut accounts = Accounts {
        files: image.clone(),
        ..Accounts::default()
    };
    let rubus = User::default();
    let named = settings
        .users
        .iter()
        .map(|(name, user)| (name.as_str(), user));
    let mut people: BTreeMap<&str, &User> = named.collect();
    people.entry(RUBUS).or_insert(&rubus);
    for (name, user) in people {
        let taken =
            name != RUBUS && (has_entry(&image.passwd, name) || has_entry(&image.group, name));
        if taken {
            accounts.refused.push(format!(
                "users.{name} is left out: the system has a user or group of this name; choose another"
            ));
            continue;
        }
        let Some(&number) = numbers.get(name) else {
            accounts
                .refused
                .push(format!("users.{name} is left out: no number is free"));
            continue;
        };
        accounts.add(name, number, user, settings);
    }
    accounts
}

impl Accounts {
    fn add(&mut self, name: &str, number: u32, user: &User, settings: &Settings) {
        let shell = user.shell.as_str();
        // `*` and no `!`: sshd takes that for an account that is closed.
        let hash = user
            .password_hash
            .as_ref()
            .map_or("*", |hash| hash.as_str());
        if !has_entry(&self.files.passwd, name) {
            self.added.names.insert(name.to_owned());
        }
        set_entry(
            &mut self.files.passwd,
            name,
            &format!("{name}:x:{number}:{number}::/home/{name}:{shell}"),
        );
        set_entry(
            &mut self.files.shadow,
            name,
            &format!("{name}:{hash}:::::::"),
        );
        if !has_entry(&self.files.group, name) {
            set_entry(&mut self.files.group, name, &format!("{name}:x:{number}:"));
        }
        for group in &user.groups {
            let group = group.as_str();
            let before = self.files.group.clone();
            if !join(&mut self.files.group, group, name) {
                let why = format!("users.{name}.groups: there is no group {group}");
                self.refused.push(why);
            }
            if self.files.group != before {
                let member = (group.to_owned(), name.to_owned());
                self.added.members.insert(member);
            }
        }
        let usual = match name {
            // The key is the proof where there is no password to ask for.
            RUBUS => Sudo::WithoutPassword,
            _ => Sudo::No,
        };
        match user.sudo.unwrap_or(usual) {
            Sudo::WithoutPassword => {
                self.sudoers += &format!("{name} ALL=(ALL:ALL) NOPASSWD: ALL\n");
            }
            Sudo::WithPassword => self.sudoers += &format!("{name} ALL=(ALL:ALL) ALL\n"),
            Sudo::No => {}
        }
        let of_rubus = match name {
            RUBUS => &settings.ssh.authorized_keys[..],
            _ => &[],
        };
        let keys = user.ssh_authorized_keys.iter().chain(of_rubus);
        self.people.push(Person {
            name: name.to_owned(),
            number,
            keys: keys.map(|key| format!("{}\n", key.as_str())).collect(),
        });
    }
}

/// The files without what was added to them.
pub(crate) fn without(files: &Files, added: &Added) -> Files {
    let clear = |text: &str| -> String {
        let lines = text.lines();
        let others = lines.filter(|line| !added.names.iter().any(|name| is_of(line, name)));
        others.map(|line| format!("{line}\n")).collect()
    };
    let mut group = clear(&files.group);
    for (of, name) in &added.members {
        leave(&mut group, of, name);
    }
    Files {
        passwd: clear(&files.passwd),
        group,
        shadow: clear(&files.shadow),
    }
}

fn is_of(line: &str, name: &str) -> bool {
    line.split(':').next() == Some(name)
}

fn has_entry(text: &str, name: &str) -> bool {
    text.lines().any(|line| is_of(line, name))
}

/// Replaces the line of a name, or adds one.
fn set_entry(text: &mut String, name: &str, entry: &str) {
    let mut lines: Vec<&str> = text.lines().filter(|line| !is_of(line, name)).collect();
    lines.push(entry);
    *text = lines.join("\n") + "\n";
}

/// Makes a user a member of a group; false when there is no such group.
fn join(groups: &mut String, group: &str, name: &str) -> bool {
    let mut found = false;
    let lines: Vec<String> = groups
        .lines()
        .map(|line| {
            if !is_of(line, group) {
                return line.to_owned();
            }
            found = true;
            let members = line.rsplit(':').next().unwrap_or_default();
            if members.split(',').any(|member| member == name) {
                line.to_owned()
            } else if members.is_empty() {
                format!("{line}{name}")
            } else {
                format!("{line},{name}")
            }
        })
        .collect();
    *groups = lines.join("\n") + "\n";
    found
}

/// Ends a user's membership of a group.
fn leave(groups: &mut String, group: &str, name: &str) {
    let lines = groups.lines().map(|line| match line.rsplit_once(':') {
        Some((head, members)) if is_of(line, group) => {
            let members = members.split(',').filter(|member| *member != name);
            format!("{head}:{}\n", members.collect::<Vec<_>>().join(","))
        }
        _ => format!("{line}\n"),
    });
    *groups = lines.collect();
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn settings(json: serde_json::Value) -> Settings {
        serde_json::from_value(json).unwrap()
    }

    fn image() -> Files {
        Files {
            passwd: "root:x:0:0::/root:/bin/sh\nrubus:x:1000:1000::/home/rubus:/bin/bash\n".into(),
            group: "root:x:0:\nsudo:x:27:rubus\ndocker:x:998:\nrubus:x:1000:\n".into(),
            shadow: "root:*:::::::\nrubus:*:::::::\n".into(),
        }
    }

    fn of(json: serde_json::Value) -> Accounts {
        let settings = settings(json);
        accounts(
            &image(),
            &settings,
            &numbers(&settings, &BTreeMap::new(), ""),
        )
    }

    #[test]
    fn without_people_there_is_rubus_with_the_keys_of_ssh() {
        let accounts = of(json!({ "ssh": { "authorized_keys": ["ssh-ed25519 AAAA a@b"] } }));
        assert_eq!(accounts.refused, [""; 0]);
        assert_eq!(
            accounts.people,
            [Person {
                name: "rubus".to_owned(),
                number: 1000,
                keys: "ssh-ed25519 AAAA a@b\n".to_owned(),
            }]
        );
        assert_eq!(accounts.sudoers, "rubus ALL=(ALL:ALL) NOPASSWD: ALL\n");
        assert!(accounts.files.shadow.contains("\nrubus:*:"));
        assert_eq!(accounts.keys(), 1);
    }

    #[test]
    fn a_person_has_an_entry_in_every_file() {
        let hash = "$y$j9T$abcdefgh$0123456789012345678901234567890123456789012";
        let accounts = of(json!({ "users": { "anna": {
            "ssh_authorized_keys": ["ssh-ed25519 BBBB"],
            "password_hash": hash,
            "groups": ["docker", "sudo"],
            "sudo": "with-password",
            "shell": "/bin/sh",
        }}}));
        assert_eq!(accounts.refused, [""; 0]);
        let files = &accounts.files;
        assert!(files.passwd.ends_with(
            "\nanna:x:1001:1001::/home/anna:/bin/sh\nrubus:x:1000:1000::/home/rubus:/bin/bash\n"
        ));
        assert!(files.shadow.contains(&format!("\nanna:{hash}:::::::\n")));
        for line in ["docker:x:998:anna", "sudo:x:27:rubus,anna", "anna:x:1001:"] {
            assert!(files.group.lines().any(|it| it == line), "{line}");
        }
        assert!(accounts.sudoers.contains("anna ALL=(ALL:ALL) ALL\n"));
        assert_eq!(accounts.people[0].keys, "ssh-ed25519 BBBB\n");
    }

    #[test]
    fn rubus_can_be_given_a_password_and_less_power() {
        let accounts = of(json!({
            "users": { "rubus": { "ssh_authorized_keys": ["ssh-ed25519 AAAA"], "sudo": "no" } },
            "ssh": { "authorized_keys": ["ssh-ed25519 BBBB"] },
        }));
        assert_eq!(accounts.sudoers, "");
        assert_eq!(accounts.people.len(), 1);
        assert_eq!(
            accounts.people[0].keys,
            "ssh-ed25519 AAAA\nssh-ed25519 BBBB\n"
        );
        let entries = accounts
            .files
            .passwd
            .lines()
            .filter(|line| is_of(line, "rubus"));
        assert_eq!(entries.count(), 1);
    }

    #[test]
    fn names_of_the_system_and_unknown_groups_are_refused_and_named() {
        let accounts = of(json!({ "users": {
            "root": {}, "docker": {}, "anna": { "groups": ["wheel"] },
        }}));
        let names: Vec<_> = accounts.people.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["anna", "rubus"]);
        for word in ["users.root ", "users.docker ", "wheel"] {
            assert!(
                accounts.refused.iter().any(|it| it.contains(word)),
                "{word}"
            );
        }
        assert!(accounts.files.passwd.starts_with("root:x:0:0:"));
    }

    #[test]
    fn numbers_are_kept_and_never_given_twice() {
        let known = BTreeMap::from([("gone".to_owned(), 1001), ("bert".to_owned(), 1007)]);
        let numbers = numbers(
            &settings(json!({ "users": { "anna": {}, "bert": {}, "carl": {} } })),
            &known,
            "",
        );
        let of = |name: &str| numbers[name];
        assert_eq!(
            [of("rubus"), of("anna"), of("bert"), of("carl")],
            [1000, 1002, 1007, 1003]
        );
        assert_eq!(of("gone"), 1001, "its files are still there");
    }

    #[test]
    fn a_number_of_somebody_else_is_not_given_away() {
        // As `adduser` makes one where the files can be written to.
        let passwd = "root:x:0:0::/root:/bin/sh\nfoo:x:1001:1001::/home/foo:/bin/sh\n";
        let anna = settings(json!({ "users": { "anna": {} } }));
        assert_eq!(numbers(&anna, &BTreeMap::new(), passwd)["anna"], 1002);
    }

    #[test]
    fn a_number_that_two_have_is_kept_by_one() {
        let known = BTreeMap::from([
            ("anna".to_owned(), 1001),
            ("bert".to_owned(), 1001),
            ("mallory".to_owned(), 1000),
            ("root".to_owned(), 0),
        ]);
        let asked = settings(json!({ "users": { "anna": {}, "bert": {}, "mallory": {} } }));
        let numbers = numbers(&asked, &known, "");
        let of = |name: &str| numbers[name];
        assert_eq!(
            [of("rubus"), of("anna"), of("bert"), of("mallory")],
            [1000, 1001, 1002, 1003]
        );
    }

    #[test]
    fn what_was_added_can_be_taken_out_again() {
        let accounts = of(json!({ "users": {
            "anna": { "groups": ["docker", "sudo"] },
            "rubus": { "groups": ["docker", "sudo"] },
        }}));
        assert_ne!(accounts.files, image());
        let back = without(&accounts.files, &accounts.added);
        assert_eq!(
            back.group,
            image().group,
            "the image made rubus a member of sudo"
        );
        let names = |text: &str| -> Vec<String> {
            let names = text
                .lines()
                .map(|line| line.split(':').next().unwrap().to_owned());
            names.collect()
        };
        assert_eq!(names(&back.passwd), names(&image().passwd));
        assert_eq!(names(&back.shadow), names(&image().shadow));
    }
}
