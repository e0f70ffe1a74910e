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

    /// Looks a user up in the text of a root's `/etc/passwd` and `/etc/group`:
    /// `USER` or `USER:GROUP`, each a name or a number, as in OCI images. `root`
    /// is found even when the files are empty, and so is any number.
    pub fn lookup(user: &str, passwd: &str, group: &str) -> Option<Identity> {
        let (user, own_group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (user, None),
        };
        let number: Option<u32> = user.parse().ok();
        let found = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, _] = fields[..] else {
                return None;
            };
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            (name == user || number == Some(uid)).then(|| (name, uid, gid, home.to_owned()))
        });
        let (name, uid, gid, home) = match (found, number) {
            (Some(found), _) => found,
            (None, None) if user != "root" => return None,
            (None, None | Some(0)) => ("root", 0, 0, Identity::root().home),
            (None, Some(uid)) => ("", uid, 0, "/".to_owned()),
        };
        let groups = || {
            group.lines().filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let [name, _, gid, members] = fields[..] else {
                    return None;
                };
                Some((
                    name.to_owned(),
                    gid.parse::<u32>().ok()?,
                    members.to_owned(),
                ))
            })
        };
        // A group that is asked for stands alone, as engines have it.
        if let Some(wanted) = own_group {
            let gid = groups()
                .find_map(|(name, gid, _)| (name == wanted).then_some(gid))
                .or_else(|| wanted.parse().ok())?;
            return Some(Identity {
                uid,
                gid,
                groups: Vec::new(),
                home,
            });
        }
        let mut further: Vec<u32> = groups()
            .filter(|(_, it, members)| {
                *it != gid && !name.is_empty() && members.split(',').any(|member| member == name)
            })
            .map(|(_, gid, _)| gid)
            .collect();
        further.sort_unstable();
        further.dedup();
        Some(Identity {
            uid,
            gid,
            groups: further,
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

    #[test]
    fn an_image_names_its_user_by_number_and_with_a_group() {
        for (user, expected) in [
            ("100", Some((100, 101, &[5, 20][..], "/var/lib/chrony"))),
            ("_chrony:tty", Some((100, 5, &[], "/var/lib/chrony"))),
            ("7", Some((7, 0, &[], "/"))),
            ("7:8", Some((7, 8, &[], "/"))),
            ("0", Some((0, 0, &[], "/root"))),
            ("_chrony:ghost", None),
            ("", None),
        ] {
            let found = Identity::lookup(user, PASSWD, GROUP);
            let found = found
                .as_ref()
                .map(|it| (it.uid, it.gid, &it.groups[..], it.home.as_str()));
            assert_eq!(found, expected, "{user:?}");
        }
    }
}
