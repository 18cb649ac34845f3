//! The files of a bundle: everything under its directory, by relative path, and nothing that is not expected there.
//!
//! They have one name, [`Folder::digest`]: whoever has the files can compute it, and whoever has the name and the files
//! knows that they are these.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{Fault, Faults};

/// Text by path inside the bundle (`packs/kr.pipa/rules.csv`).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Folder {
    files: BTreeMap<String, String>,
}

impl Folder {
    /// Reads the whole directory. Blocks on the disk: not for an async worker.
    ///
    /// # Errors
    /// When something of it cannot be read, or is more than a bundle can be.
    pub fn read(dir: &Path) -> Result<Self, Fault> {
        let mut folder = Self::default();
        folder.walk(dir, "", 0)?;
        Ok(folder)
    }

    /// The canonical JSON (RFC 8785) of an object of path to text: how a bundle is kept, and what its name is taken over.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        // An object of texts can always be written.
        verdict::canonical(&self.files).unwrap_or_default()
    }

    /// The files that [`Folder::bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not an object of texts, or a path could lead out of a directory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let fault = |found: String| Fault {
            file: "bundle".into(),
            line: 0,
            found,
            meant: None,
            mend: "propose the bundle again from its directory".into(),
        };
        let files: BTreeMap<String, String> = serde_json::from_slice(bytes)
            .map_err(|error| fault(format!("what is stored is no bundle: {error}")))?;
        if let Some(path) = files.keys().find(|path| !is_plain(path)) {
            return Err(fault(format!("`{path}` is no path inside a bundle")));
        }
        for (path, text) in &files {
            if let Some((line, found, mend)) = unseen(text) {
                return Err(Fault {
                    file: path.clone(),
                    line,
                    found,
                    meant: None,
                    mend: mend.into(),
                });
            }
        }
        Ok(Self { files })
    }

    /// `sha256:` and hex over [`Folder::bytes`]: the name of exactly these files, comments, cases and texts included.
    #[must_use]
    pub fn digest(&self) -> String {
        verdict::digest(&self.bytes())
    }

    /// Path and text of each file, in the order of paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    fn walk(&mut self, dir: &Path, inside: &str, depth: usize) -> Result<(), Fault> {
        let fault = |found: String, mend: &str| Fault {
            file: if inside.is_empty() { dir.display().to_string() } else { inside.to_owned() },
            line: 0,
            found,
            meant: None,
            mend: mend.to_owned(),
        };
        let unreadable = |error: std::io::Error| {
            fault(format!("cannot be read: {error}"), "give the directory of a bundle")
        };
        if depth > DEPTH_MAX {
            return Err(fault("the folder is too deep".into(), "see policies/README.md"));
        }
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with('.') {
                continue;
            }
            let inner =
                if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            if path.is_dir() {
                self.walk(&path, &inner, depth + 1)?;
                continue;
            }
            let size = path.metadata().map_err(unreadable)?.len();
            if size > FILE_BYTES_MAX || self.files.len() >= FILES_MAX {
                return Err(fault(format!("`{name}` is too much"), "keep a bundle to its rules"));
            }
            let bytes = std::fs::read(&path).map_err(unreadable)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| fault(format!("`{name}` is not UTF-8"), "save it as UTF-8"))?;
            if let Some((line, found, mend)) = unseen(&text) {
                return Err(Fault { file: inner, line, found, meant: None, mend: mend.into() });
            }
            self.files.insert(inner, text);
        }
        Ok(())
    }

    /// A file that must be there; a fault and an empty text when it is not.
    pub(crate) fn text(&self, path: &str, found: &mut Vec<Fault>) -> &str {
        self.files.get(path).map_or_else(
            || {
                let mut faults = Faults { file: path, found };
                faults.add(
                    0,
                    "the file is missing",
                    "see policies/README.md for the files of a bundle",
                );
                ""
            },
            String::as_str,
        )
    }

    /// The files directly in a folder, by name without `extension`.
    pub(crate) fn in_folder<'a>(
        &'a self,
        folder: &'a str,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.files.iter().filter_map(move |(path, text)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(extension)?;
            (!name.contains('/')).then_some((path.as_str(), name, text.as_str()))
        })
    }

    /// Reports every file that nobody reads: a misnamed file must not be a rule that is not there.
    pub(crate) fn strangers(&self, packs: &[String], found: &mut Vec<Fault>) {
        let expected = |path: &str| {
            TOP.contains(&path)
                || path.ends_with("README.md")
                || (path.starts_with("access/") && path.strip_suffix(".csv").is_some())
                || path.strip_prefix("packs/").and_then(|rest| rest.split_once('/')).is_some_and(
                    |(pack, file)| packs.iter().any(|p| p == pack) && PACK.contains(&file),
                )
        };
        for path in self.files.keys().filter(|path| !expected(path)) {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let known: Vec<String> = TOP
                .iter()
                .map(|path| (*path).to_owned())
                .chain(PACK.iter().map(|file| format!("{folder}/{file}")))
                .collect();
            let mut faults = Faults { file: path, found };
            let mend = "rename it, list its pack in bundle.toml, or take it away";
            faults.unknown(0, "file", name, known.iter().map(String::as_str), mend);
        }
    }
}

/// Whether a path stays inside its directory wherever it is written: plain names with single slashes between.
fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = |name: &str| !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
    path.split('/').count() <= DEPTH_MAX + 1 && path.split('/').all(name)
}

/// What an editor does not show and a reader of sheets would take for a part of a word: the line, what it is, the mend.
fn unseen(text: &str) -> Option<(usize, String, &'static str)> {
    if text.starts_with('\u{feff}') {
        let mend =
            "save the file as UTF-8 without it: it would be read as a part of the first word";
        return Some((1, "the file begins with a byte order mark".into(), mend));
    }
    let is_odd = |char: &char| char.is_control() && !matches!(char, '\n' | '\r' | '\t');
    for (index, line) in text.lines().enumerate() {
        if let Some(odd) = line.chars().find(is_odd) {
            let found = format!("the control character `{}`", odd.escape_unicode());
            return Some((
                index + 1,
                found,
                "take it away: it does not show and is part of a word",
            ));
        }
    }
    None
}

/// Files at the top and in `model/`.
const TOP: [&str; 6] = [
    "bundle.toml",
    "canary.toml",
    "groups.csv",
    "vocabulary.toml",
    "model/access.conf",
    "model/residency.conf",
];
const PACK: [&str; 4] = ["pack.toml", "rules.csv", "texts.toml", "cases.toml"];
/// `packs/<code>/file` is two folders deep.
const DEPTH_MAX: usize = 2;
/// A pack of 1,000 rules with texts in two languages is about 600 kB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// 100 packs of 5 files, and one access sheet for each of 1,500 organisations.
const FILES_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_under_the_same_name() {
        let folder = Folder {
            files: [("b/c.csv".into(), "p, ü\n".into()), ("a".into(), String::new())].into(),
        };
        assert_eq!(folder.bytes(), r#"{"a":"","b/c.csv":"p, ü\n"}"#.as_bytes());
        let again = Folder::from_bytes(&folder.bytes()).unwrap();
        assert_eq!((&again, again.digest()), (&folder, folder.digest()));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in ["../x", "/etc/x", "a//b", "a/.hidden", "", "a/b/c/d", "a\\b", "a b"] {
            let bytes = serde_json::json!({ path: "" }).to_string();
            let fault = Folder::from_bytes(bytes.as_bytes()).unwrap_err();
            assert!(fault.found.contains("no path inside a bundle"), "{path}: {fault}");
        }
        assert!(Folder::from_bytes(b"[1]").is_err());
    }
}
