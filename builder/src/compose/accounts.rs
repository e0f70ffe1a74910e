//! Users and groups of a root: `/etc/passwd`, `/etc/group`, `/etc/shadow`.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use rubus_service::definition::{Group, User};

use crate::tree::{Node, Tree};

/// The base system users of Debian (base-passwd) that programs look up.
const USERS: &[(&str, u32, &str, &str)] = &[
    ("root", 0, "/root", "/bin/sh"),
    ("daemon", 1, "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, "/bin", "/usr/sbin/nologin"),
    ("sys", 3, "/dev", "/usr/sbin/nologin"),
    ("mail", 8, "/var/mail", "/usr/sbin/nologin"),
    ("www-data", 33, "/var/www", "/usr/sbin/nologin"),
    ("backup", 34, "/var/backups", "/usr/sbin/nologin"),
    ("nobody", 65534, "/nonexistent", "/usr/sbin/nologin"),
];

/// The base system groups of Debian (base-passwd), and those that udev's rules
/// give devices to, under fixed numbers so that they mean the same in every
/// service.
const GROUPS: &[(&str, u32)] = &[
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("kmem", 15),
    ("dialout", 20),
    ("cdrom", 24),
    ("floppy", 25),
    ("tape", 26),
    ("sudo", 27),
    ("audio", 29),
    ("www-data", 33),
    ("backup", 34),
    ("shadow", 42),
    ("utmp", 43),
    ("video", 44),
    ("plugdev", 46),
    ("staff", 50),
    ("users", 100),
    ("input", 104),
    ("kvm", 105),
    ("render", 106),
    ("sgx", 107),
    ("netdev", 108),
    ("clock", 109),
    ("gpio", 110),
    ("i2c", 111),
    ("spi", 112),
    ("nogroup", 65534),
];

/// Writes the account files of a root.
///
/// # Errors
/// When a name or a number is taken twice, or a user is in a group that does
/// not exist.
pub fn write(tree: &mut Tree, users: &[User], groups: &[Group]) -> Result<()> {
    let mut table = Table::base();
    for group in groups {
        table.add_group(&group.name, group.gid)?;
    }
    for user in users {
        table.add_user(user)?;
    }
    tree.insert("etc/passwd", Node::file(0o644, table.passwd()))?;
    tree.insert("etc/group", Node::file(0o644, table.group()))?;
    let mut shadow = Node::file(0o640, table.shadow());
    shadow.gid = 42;
    tree.insert("etc/shadow", shadow)
}

struct Table {
    users: Vec<User>,
    groups: Vec<Group>,
    members: BTreeMap<String, Vec<String>>,
}

impl Table {
    fn base() -> Self {
        let gid = |name: &str| {
            let group = if name == "nobody" { "nogroup" } else { name };
            GROUPS
                .iter()
                .find(|(known, _)| *known == group)
                .map_or(0, |(_, gid)| *gid)
        };
        Self {
            users: USERS
                .iter()
                .map(|(name, uid, home, shell)| User {
                    name: (*name).to_owned(),
                    uid: *uid,
                    gid: gid(name),
                    home: (*home).to_owned(),
                    shell: (*shell).to_owned(),
                    groups: Vec::new(),
                })
                .collect(),
            groups: GROUPS
                .iter()
                .map(|(name, gid)| Group {
                    name: (*name).to_owned(),
                    gid: *gid,
                })
                .collect(),
            members: BTreeMap::new(),
        }
    }

    fn add_group(&mut self, name: &str, gid: u32) -> Result<()> {
        check_name(name)?;
        for group in &self.groups {
            if group.name == name && group.gid == gid {
                return Ok(());
            }
            ensure!(
                group.name != name && group.gid != gid,
                "group {name} ({gid}) collides with {} ({})",
                group.name,
                group.gid
            );
        }
        self.groups.push(Group {
            name: name.to_owned(),
            gid,
        });
        Ok(())
    }

    fn add_user(&mut self, user: &User) -> Result<()> {
        check_name(&user.name)?;
        for other in &self.users {
            ensure!(
                other.name != user.name && other.uid != user.uid,
                "user {} ({}) collides with {} ({})",
                user.name,
                user.uid,
                other.name,
                other.uid
            );
        }
        for field in [&user.home, &user.shell] {
            ensure!(
                !field.contains([':', '\n']),
                "user {}: {field:?} cannot stand in /etc/passwd",
                user.name
            );
        }
        if !self.groups.iter().any(|group| group.gid == user.gid) {
            self.add_group(&user.name, user.gid)?;
        }
        for group in &user.groups {
            if !self.groups.iter().any(|known| known.name == *group) {
                bail!(
                    "user {} is in group {group}, which does not exist",
                    user.name
                );
            }
            self.members
                .entry(group.clone())
                .or_default()
                .push(user.name.clone());
        }
        self.users.push(user.clone());
        Ok(())
    }

    fn passwd(&self) -> String {
        let line = |user: &User| {
            format!(
                "{}:x:{}:{}::{}:{}\n",
                user.name, user.uid, user.gid, user.home, user.shell
            )
        };
        self.users.iter().map(line).collect()
    }

    fn group(&self) -> String {
        let line = |group: &Group| {
            let members = self.members.get(&group.name).map(|names| names.join(","));
            format!(
                "{}:x:{}:{}\n",
                group.name,
                group.gid,
                members.unwrap_or_default()
            )
        };
        self.groups.iter().map(line).collect()
    }

    /// No account has a password. `*` rather than `!`: sshd takes `!` for a
    /// locked account and refuses its keys too.
    fn shadow(&self) -> String {
        let line = |user: &User| format!("{}:*:19000:0:99999:7:::\n", user.name);
        self.users.iter().map(line).collect()
    }
}

fn check_name(name: &str) -> Result<()> {
    let good = (1..=32).contains(&name.len())
        && name.bytes().enumerate().all(|(at, byte)| match byte {
            b'a'..=b'z' | b'_' => true,
            b'0'..=b'9' | b'-' => at > 0,
            _ => false,
        });
    ensure!(good, "{name:?} cannot be the name of a user or a group");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    fn user(name: &str, uid: u32, gid: u32, groups: &[&str]) -> User {
        User {
            name: name.to_owned(),
            uid,
            gid,
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        }
    }

    fn text(tree: &Tree, path: &str) -> String {
        match &tree.get(path).unwrap().kind {
            Kind::File(content) => String::from_utf8(content.read().unwrap()).unwrap(),
            _ => panic!("{path} is not a file"),
        }
    }

    #[test]
    fn a_user_gets_a_group_of_its_own_and_its_memberships() {
        let mut tree = Tree::new();
        write(&mut tree, &[user("rubus", 1000, 1000, &["sudo"])], &[]).unwrap();
        assert!(text(&tree, "etc/passwd").contains("rubus:x:1000:1000::/:/bin/sh\n"));
        assert!(text(&tree, "etc/group").contains("rubus:x:1000:\n"));
        assert!(text(&tree, "etc/group").contains("sudo:x:27:rubus\n"));
    }

    #[test]
    fn nobody_has_a_password() {
        let mut tree = Tree::new();
        write(&mut tree, &[user("rubus", 1000, 1000, &[])], &[]).unwrap();
        assert!(
            text(&tree, "etc/shadow")
                .lines()
                .all(|line| line.contains(":*:"))
        );
        assert_eq!(tree.get("etc/shadow").unwrap().mode, 0o640);
    }

    #[test]
    fn collisions_and_unknown_groups_are_named() {
        let mut tree = Tree::new();
        let mut refuse = |users: &[User], groups: &[Group]| {
            write(&mut tree, users, groups).unwrap_err().to_string()
        };
        assert!(refuse(&[user("root", 5000, 5000, &[])], &[]).contains("collides"));
        assert!(refuse(&[user("x", 1, 1, &[])], &[]).contains("daemon"));
        assert!(refuse(&[user("x", 500, 500, &["nope"])], &[]).contains("nope"));
        assert!(refuse(&[user("a:b", 500, 500, &[])], &[]).contains("a:b"));
    }
}
