//! Who a service runs as: numbers from its root's `/etc/passwd` and
//! `/etc/group`.

/// A user in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Id of the main group.
    pub gid: u32,
    /// Further groups, sorted.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

impl Identity {
    /// The superuser, for roots without `/etc/passwd`.
    pub fn root() -> Identity {
        Identity {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            home: "/root".to_owned(),
        }
    }

    /// Looks a user up in the text of a root's `/etc/passwd` and `/etc/group`.
    /// `root` is found even when the files are empty.
    pub fn lookup(user: &str, passwd: &str, group: &str) -> Option<Identity> {
        let found = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, _] = fields[..] else {
                return None;
            };
            (name == user).then_some((uid.parse().ok()?, gid.parse().ok()?, home.to_owned()))
        });
        let Some((uid, gid, home)) = found else {
            return (user == "root").then(Identity::root);
        };
        let mut groups: Vec<u32> = group
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let [_, _, gid, members] = fields[..] else {
                    return None;
                };
                members
                    .split(',')
                    .any(|member| member == user)
                    .then(|| gid.parse().ok())?
            })
            .filter(|&it| it != gid)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        Some(Identity {
            uid,
            gid,
            groups,
            home,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\n_chrony:x:100:101:Chrony:/var/lib/chrony:/usr/sbin/nologin\n";
    const GROUP: &str =
        "root:x:0:\ntty:x:5:a,_chrony\n_chrony:x:101:_chrony\ndialout:x:20:_chrony,a\nbroken:x\n";

    #[test]
    fn numbers_and_groups_come_from_the_files() {
        let it = Identity::lookup("_chrony", PASSWD, GROUP).unwrap();
        assert_eq!(
            (it.uid, it.gid, it.home.as_str()),
            (100, 101, "/var/lib/chrony")
        );
        assert_eq!(it.groups, [5, 20]);
    }

    #[test]
    fn a_missing_user_is_none_except_root() {
        assert_eq!(Identity::lookup("ghost", PASSWD, GROUP), None);
        assert_eq!(Identity::lookup("root", "", ""), Some(Identity::root()));
    }
}
