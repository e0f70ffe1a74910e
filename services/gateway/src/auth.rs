//! Basic authentication, with credentials made on the first start.

use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;

use crate::files;

const USER_FILE: &str = "basic-auth-user";
const PASSWORD_FILE: &str = "basic-auth-password";
const PASSWORD_LENGTH: usize = 32;
/// As many letters as six bits count.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Who may use `/system` and `/ui`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Credentials that are known.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Reads the credentials of a folder. Where they are missing, user `admin`
    /// with a random password is made, readable by the owner only.
    ///
    /// # Errors
    /// When they can neither be read nor made, or one of them is empty.
    pub fn load_or_make(folder: &Path) -> Result<Self, String> {
        let text = |name: &str, new: &dyn Fn() -> Result<String, String>| {
            let path = folder.join(name);
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let text = new()?;
                    files::replace(&path, text.as_bytes(), 0o600)
                        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
                    text
                }
                Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            };
            let text = text.trim();
            if text.is_empty() {
                return Err(format!(
                    "{} is empty; remove it and a new one is made",
                    path.display()
                ));
            }
            Ok(text.to_owned())
        };
        Ok(Self {
            user: text(USER_FILE, &|| Ok("admin".to_owned()))?,
            password: text(PASSWORD_FILE, &random_password)?,
        })
    }

    /// Whether the value of an `Authorization` header is right.
    pub fn accept(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, encoded)) = authorization.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        let Ok(given) = STANDARD.decode(encoded.trim()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("basic")
            && bool::from(given.ct_eq(format!("{}:{}", self.user, self.password).as_bytes()))
    }
}

fn random_password() -> Result<String, String> {
    let mut bytes = [0; PASSWORD_LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| format!("cannot make a password: {error}"))?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte & 63)]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn credentials_are_made_once_and_for_the_owner_only() {
        let folder = std::env::temp_dir().join(format!("gateway-auth-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let made = Credentials::load_or_make(&folder).unwrap();
        assert_eq!((made.user.as_str(), made.password.len()), ("admin", 32));
        assert!(Credentials::load_or_make(&folder).unwrap() == made);
        let mode = fs::metadata(folder.join(PASSWORD_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        fs::write(folder.join(PASSWORD_FILE), "  own \n").unwrap();
        assert_eq!(Credentials::load_or_make(&folder).unwrap().password, "own");
        fs::write(folder.join(PASSWORD_FILE), "\n").unwrap();
        assert!(Credentials::load_or_make(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_the_right_password_opens() {
        let credentials = Credentials::new("admin", "a:b");
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(credentials.accept(Some(&header("admin:a:b"))));
        for wrong in [
            "admin:a:c",
            "admin:a:",
            "admin:a:bb",
            "root:a:b",
            "",
            "admin",
        ] {
            assert!(!credentials.accept(Some(&header(wrong))), "{wrong}");
        }
        for wrong in [
            None,
            Some(""),
            Some("Basic"),
            Some("Basic %"),
            Some("Bearer YWRtaW46YTpi"),
        ] {
            assert!(!credentials.accept(wrong), "{wrong:?}");
        }
    }
}
