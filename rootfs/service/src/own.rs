//! Services of a node's own: `service.toml` where no builder is, and the
//! folders of those that were added.

use std::{fs, path::Path};

use crate::{
    Service, is_name,
    parse::{Error, Source, check_keys},
    validate::Place,
};

const NO_BUILDER: &str =
    "a node has no builder; name an image with these programs as `image` instead";
const ROOT_OF_IMAGE: &str =
    "the root of a service of your own is its image as it is; make the image so, and remove this";
const NO_VARIANTS: &str = "a service of your own has no variants; remove this";

/// Keys that mean something to the builder only, and what to do instead.
const OF_BUILDER: [(&str, &str); 14] = [
    ("packages", NO_BUILDER),
    ("suite", NO_BUILDER),
    ("exclude", NO_BUILDER),
    ("crate", NO_BUILDER),
    ("remove", ROOT_OF_IMAGE),
    ("links", ROOT_OF_IMAGE),
    ("directories", ROOT_OF_IMAGE),
    (
        "users",
        "an image brings its own users; name one of them, or a number, as `user`",
    ),
    (
        "groups",
        "an image brings its own groups; name one of them, or a number, as in `user = \"1000:1000\"`",
    ),
    (
        "optional",
        "what you add is there; say `enabled = false` for one that does not start by itself",
    ),
    (
        "version_of",
        "there are no packages here; name the version itself as `version`",
    ),
    ("variant", NO_VARIANTS),
    ("switch", NO_VARIANTS),
    (
        "new_privileges",
        "programs of an image that you add lose set-user-id; give the service `capabilities` \
         instead",
    ),
];

impl Service {
    /// Reads the `service.toml` of a service that is added on a node. It is
    /// made of an `image`, which here may have a tag, or be a file; keys that
    /// only the builder understands are refused.
    ///
    /// # Errors
    /// When something is wrong; the error names file, line and key.
    pub fn parse_own(name: &str, file: &str, text: &str) -> Result<Service, Error> {
        let source = Source { file, text };
        if !is_own_name(name) {
            let message = format!(
                "\"{name}\" cannot name a service; choose lower case letters, digits and `-`, at \
                 most 63, with `--name`"
            );
            return Err(source.at(None, None, &message));
        }
        let document = source.parse()?;
        let table = document.get_ref();
        check_keys(source, "", table)?;
        for (key, _) in table {
            let word = key.get_ref().as_ref();
            if let Some((_, way_out)) = OF_BUILDER.iter().find(|(known, _)| *known == word) {
                return Err(source.at(Some(key.span()), Some(word.to_owned()), way_out));
            }
        }
        if !table.contains_key("image") {
            let message = "is missing; a service of your own is made of an image, such as \
                           \"registry/name:tag\", or of an archive beside this file, \"./name.tar\"";
            return Err(source.at(None, Some("image".to_owned()), message));
        }
        Service::read(name, source, &document, Place::Node)
    }
}

/// Whether a service that is added can be called so. No dots: what belongs to
/// a service of another name, such as its log, is told apart by what follows
/// one.
pub fn is_own_name(name: &str) -> bool {
    is_name(name) && !name.contains('.')
}

/// The names of the services in the folder of those that were added, sorted.
/// What is being made or removed there begins with a dot.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_own_name(name))
        .collect();
    names.sort_unstable();
    names
}

/// Where a service is made that is not there yet.
pub fn begun(name: &str) -> String {
    format!(".{name}.new")
}

/// Where a service that was removed lies until its files are deleted.
pub fn removed(name: &str) -> String {
    format!(".{name}.removed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::{LOCK, unfinished};

    const MINIMAL: &str = "description = \"d\"\nkind = \"daemon\"\nimage = \"nginx:1.27\"\n";

    fn error(rest: &str) -> Error {
        let text = format!("{MINIMAL}{rest}");
        Service::parse_own("web", "web.toml", &text).expect_err(rest)
    }

    #[test]
    fn an_image_may_have_a_tag_or_be_a_file_and_say_what_is_run() {
        for image in ["nginx:1.27", "nginx", "./web.tar", "a/b@sha256:00"] {
            let text = MINIMAL.replace("nginx:1.27", image);
            let service = Service::parse_own("web", "web.toml", &text).unwrap();
            assert_eq!(service.name, "web");
            assert_eq!(service.image.as_deref(), Some(image));
            assert!(service.command.is_empty() && service.enabled);
        }
        // The builder still wants to know exactly which.
        assert!(Service::parse("web", "web.toml", MINIMAL).is_err());
    }

    #[test]
    fn what_only_the_builder_understands_is_refused_by_name_with_the_way_out() {
        for (line, words) in [
            ("packages = [\"mosquitto\"]", "no builder"),
            ("suite = \"sid\"", "no builder"),
            ("exclude = []", "no builder"),
            ("crate = \"gateway\"", "no builder"),
            ("remove = [\"a\"]", "make the image so"),
            ("links = { a = \"b\" }", "make the image so"),
            ("directories = [\"/a\"]", "make the image so"),
            (
                "users = [{ name = \"a\", uid = 1, gid = 1 }]",
                "its own users",
            ),
            ("groups = [{ name = \"a\", gid = 1 }]", "its own groups"),
            ("optional = true", "`enabled = false`"),
            ("version_of = \"a\"", "`version`"),
            ("variant = \"a\"", "no variants"),
            ("[switch]\ngate = [\"a\"]", "no variants"),
            ("new_privileges = true", "`capabilities`"),
        ] {
            let error = error(line);
            let key = line.trim_start_matches('[');
            let key = key.split([' ', ']']).next();
            assert_eq!(error.key.as_deref(), key, "{error}");
            assert_eq!(error.line, Some(4), "{error}");
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn everything_else_is_as_in_the_image() {
        let text = format!(
            "{MINIMAL}command = [\"/bin/web\"]\nafter = [\"network\"]\nprivileged = true\n\
             network = \"host\"\nmounts = [\"/data/web:/srv:rw\"]\nsettings = [\"ntp\"]\n\
             root = \"kept\"\nuser = \"www\"\n[health]\ntcp = 80\n"
        );
        assert!(Service::parse_own("web", "web.toml", &text).is_ok());
        let said = error("mount = []\n").to_string();
        assert_eq!(
            said,
            "web.toml:4: `mount`: there is no such key; did you mean `mounts`?"
        );
        assert!(error("mounts = [\"x\"]\n").message.contains("not a mount"));
        assert!(error("after = [\"web\"]\n").message.contains("itself"));
    }

    #[test]
    fn without_an_image_there_is_nothing_to_run() {
        let text = MINIMAL.replace("image", "# image");
        let error = Service::parse_own("web", "web.toml", &text).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("image"), "{error}");
        let text = MINIMAL.replace("nginx:1.27", "");
        let error = Service::parse_own("web", "web.toml", &text).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("image"), "{error}");
        assert_eq!(error.line, Some(3), "{error}");
    }

    #[test]
    fn a_name_leads_nowhere() {
        let long = "a".repeat(64);
        for name in [
            "", ".", "..", "../x", "a/b", "A", "a b", "-a", "ntp.log", "ü", &long,
        ] {
            let error = Service::parse_own(name, "f", MINIMAL).expect_err(name);
            assert!(error.message.contains("--name"), "{error}");
        }
        assert!(is_own_name("web-2"));
    }

    #[test]
    fn what_is_being_made_or_removed_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(names(&folder.path().join("nowhere")).is_empty());
        assert!(unfinished(&folder.path().join("nowhere")).is_empty());
        let made = [
            "b",
            "a",
            &begun("c"),
            &removed("d"),
            LOCK,
            "lost+found",
            "e.f",
        ];
        for name in made {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(names(folder.path()), ["a", "b"]);
        let mut unfinished = unfinished(folder.path());
        unfinished.sort_unstable();
        assert_eq!(
            unfinished,
            [begun("c"), removed("d")].map(|it| folder.path().join(it))
        );
    }
}
