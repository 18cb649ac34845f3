//! The room's part of the configuration: which master keys there are, and where each one's secret lies.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use zeroize::Zeroizing;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The newest first: it wraps. Empty: no value behind a digest is kept.
    pub keys: Vec<KeyPlace>,
}

/// 32 bytes that are wiped.
pub type Secret = Zeroizing<[u8; 32]>;

/// A master key by its name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPlace {
    /// Stands beside every data key that it wraps; never used again for another secret.
    pub id: String,
    /// A file with 64 hex digits (`haetae audit keygen`). This or `env`.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The environment variable that has them instead.
    #[serde(default)]
    pub env: Option<String>,
}

impl Config {
    /// The files it names, for whoever knows from which directory relative ones are meant.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.keys.iter_mut().filter_map(|key| key.file.as_mut())
    }

    pub(super) fn secrets(&self) -> Result<Vec<(String, Secret)>, PrivacyError> {
        let mut ids = BTreeSet::new();
        let mut secrets = Vec::new();
        for key in &self.keys {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if !(1..=ID_BYTES_MAX).contains(&key.id.len()) || !key.id.bytes().all(plain) {
                return Err(PrivacyError::Id(key.id.clone()));
            }
            if !ids.insert(&key.id) {
                return Err(PrivacyError::Twice(key.id.clone()));
            }
            let secret = key.secret()?;
            if let Some((other, _)) = secrets.iter().find(|(_, known)| *known == secret) {
                return Err(PrivacyError::Same(String::clone(other), key.id.clone()));
            }
            secrets.push((key.id.clone(), secret));
        }
        Ok(secrets)
    }
}

impl KeyPlace {
    fn secret(&self) -> Result<Secret, PrivacyError> {
        let fault = |cause: String| PrivacyError::Key { id: self.id.clone(), cause };
        let text = match (&self.file, &self.env) {
            (Some(path), None) => std::fs::read_to_string(path)
                .map_err(|cause| fault(format!("`{}`: {cause}", path.display())))?,
            (None, Some(name)) => std::env::var(name)
                .map_err(|_| fault(format!("the environment has no `{name}`")))?,
            _ => return Err(fault("give it either `file` or `env`".to_owned())),
        };
        let (text, mut secret) = (Zeroizing::new(text), Zeroizing::new([0; 32]));
        hex::decode_to_slice(text.trim(), &mut secret[..]).map_err(|_| {
            fault("it is not 64 hex digits: `haetae audit keygen` makes one".to_owned())
        })?;
        Ok(secret)
    }
}

/// Why nothing can be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    #[error("`{0}` cannot name a master key: write 1 to 32 letters, digits, `.`, `_` or `-`")]
    Id(String),
    #[error("two master keys are named `{0}`: name each but once")]
    Twice(String),
    #[error(
        "the master keys `{0}` and `{1}` are the same bytes: a change from one to the other changes nothing, and what either opened \
         stays open. `haetae audit keygen` makes another"
    )]
    Same(String, String),
    #[error("the master key `{id}` cannot be used: {cause}")]
    Key { id: String, cause: String },
    #[error("the master key `{0}` is not among `[privacy] keys`: without it this cannot be opened")]
    NoMaster(String),
    #[error(
        "what was sealed does not open: it was changed, or another secret stands under the key's name"
    )]
    Damaged,
}

const ID_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    //! A key that cannot be used is named, and its secret is not.

    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        let config: Config = toml::from_str(text).unwrap();
        config.secrets().map(|all| all.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named() {
        assert_eq!(read(""), Ok(0));
        let wrong = |text: &str, says: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        wrong("keys = [{ id = \"a b\", env = \"HOME\" }]", "`a b` cannot name");
        wrong("keys = [{ id = \"a\" }]", "either `file` or `env`");
        wrong("keys = [{ id = \"a\", env = \"HOME\", file = \"x\" }]", "either `file` or `env`");
        wrong("keys = [{ id = \"a\", env = \"HAETAE_NO_SUCH\" }]", "no `HAETAE_NO_SUCH`");
        wrong("keys = [{ id = \"a\", file = \"/dev/null\" }]", "not 64 hex digits");
        let path = std::env::temp_dir().join(format!("haetae-privacy-{}", std::process::id()));
        std::fs::write(&path, format!("{}\n", "0a".repeat(32))).unwrap();
        let key = format!("{{ id = \"a\", file = \"{}\" }}", path.display());
        assert_eq!(read(&format!("keys = [{key}]")), Ok(1));
        wrong(&format!("keys = [{key}, {key}]"), "two master keys");
        let renamed = key.replace("\"a\"", "\"b\"");
        wrong(&format!("keys = [{key}, {renamed}]"), "`a` and `b` are the same bytes");
        std::fs::write(&path, "0a".repeat(31)).unwrap();
        let error = read(&format!("keys = [{key}]")).unwrap_err();
        assert!(!error.contains("0a0a"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}
