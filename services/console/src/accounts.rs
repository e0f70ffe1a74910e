//! The people of the settings, as `passwd`, `group`, `shadow` and `sudoers` say
//! it: a pure function of the files of the image and the settings.

use std::collections::{BTreeMap, BTreeSet};

use rubus_config::settings::{Settings, Sudo, User};

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

/// What follows from the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// The files of the image with everyone in them.
    pub(crate) files: Files,
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

/// Numbers for all people of the settings. One that had a number keeps it: files
/// belong to numbers. Those of others in `passwd` are not given away.
pub(crate) fn numbers(
    settings: &Settings,
    known: &BTreeMap<String, u32>,
    passwd: &str,
) -> BTreeMap<String, u32> {
    let others: BTreeSet<u32> = passwd
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    let mut numbers = known.clone();
    numbers.insert(RUBUS.to_owned(), RUBUS_NUMBER);
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

/// The files without the people of earlier settings; `rubus` is always there.
pub(crate) fn without<'a>(files: &Files, people: impl Iterator<Item = &'a str>) -> Files {
    let gone: BTreeSet<&str> = people.filter(|name| *name != RUBUS).collect();
    let others = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.split(':').next().is_some_and(|it| gone.contains(it)))
            .map(str::to_owned)
            .collect()
    };
    let groups = others(&files.group).into_iter().map(|line| {
        let Some((head, members)) = line.rsplit_once(':') else {
            return line;
        };
        let left = members.split(',').filter(|member| !gone.contains(member));
        format!("{head}:{}", left.collect::<Vec<_>>().join(","))
    });
    let text = |lines: Vec<String>| lines.join("\n") + "\n";
    Files {
        passwd: text(others(&files.passwd)),
        group: text(groups.collect()),
        shadow: text(others(&files.shadow)),
    }
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
            if !join(&mut self.files.group, group.as_str(), name) {
                self.refused.push(format!(
                    "users.{name}.groups: there is no group {}",
                    group.as_str()
                ));
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
    fn people_leave_the_files_that_packages_write_to() {
        let anna = settings(json!({ "users": { "anna": { "groups": ["docker", "sudo"] } } }));
        let numbers = numbers(&anna, &BTreeMap::new(), "");
        let mut with = accounts(&image(), &anna, &numbers).files;
        // As a package adds a system user.
        with.passwd += "redis:x:105:113::/var/lib/redis:/usr/sbin/nologin\n";
        with.group += "redis:x:113:\n";
        let names = || numbers.keys().map(String::as_str);
        let left = without(&with, names());
        assert!(!left.passwd.contains("anna") && !left.group.contains("anna"));
        assert!(!left.shadow.contains("anna"));
        assert!(left.passwd.contains("redis:x:105:") && left.passwd.contains("rubus:x:1000:"));
        assert!(left.group.contains("sudo:x:27:rubus\n"), "{}", left.group);
        // The same people again, and the files are the same.
        let again = accounts(&left, &anna, &numbers).files;
        let third = accounts(&without(&again, names()), &anna, &numbers).files;
        assert_eq!(third, again);
        assert!(again.group.contains("docker:x:998:anna\n"));
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
}
