//! The command line: words in, what is asked out.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use haetae_verify::{Brought, Trust, export::Digest};
use tlog::{Checkpoint, Note, VerifierKey};

#[derive(Debug)]
pub(crate) enum Asked {
    Check(Args),
    Help,
    Version,
}

#[derive(Debug)]
pub(crate) struct Args {
    pub file: PathBuf,
    pub trust: Trust,
    /// What the reviewer has from elsewhere.
    pub brought: Brought,
    /// What fields of the proven record hide.
    pub disclosures: Vec<PathBuf>,
    pub lang: Lang,
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    Ko,
}

impl Args {
    /// Reads the words after the program's name. Names of files are whatever bytes the file system has: an archive from elsewhere may
    /// have left them in another encoding.
    pub(crate) fn read(words: impl Iterator<Item = OsString>) -> Result<Asked, String> {
        let mut words = words;
        let (mut file, mut policy, mut keys) = (None, None, Vec::new());
        let (mut lang, mut json, mut kept) = (Lang::En, false, Vec::new());
        let (mut disclosures, mut bundles) = (Vec::new(), None::<Vec<Digest>>);
        while let Some(word) = words.next() {
            let name = shown(&word);
            let mut value =
                || words.next().ok_or_else(|| format!("`{name}` wants a value: see `--help`"));
            match word.to_str() {
                Some("-h" | "--help") => return Ok(Asked::Help),
                Some("-V" | "--version") => return Ok(Asked::Version),
                Some("--json") => json = true,
                Some("--lang") => lang = read_lang(&shown(&value()?))?,
                Some("--key") => keys.push(read_key(&shown(&value()?))?),
                Some("--checkpoint") => kept.extend(read_notes(value()?.as_ref())?),
                Some("--bundles") => {
                    bundles.get_or_insert_default().extend(read_bundles(value()?.as_ref())?);
                }
                Some("--disclosure") => disclosures.push(PathBuf::from(value()?)),
                Some("--trust") => policy = Some(value()?),
                _ if word.as_encoded_bytes().starts_with(b"-") => {
                    return Err(format!("`{name}` is not an option: see `--help`"));
                }
                _ if file.is_none() => file = Some(PathBuf::from(word)),
                _ => return Err(format!("one file at a time, `{name}` is a second one")),
            }
        }
        let file = file.ok_or("which file? see `--help`")?;
        let trust = match policy {
            Some(_) if !keys.is_empty() => {
                return Err("`--trust` and `--key` at once: the trust file names the keys".into());
            }
            Some(path) => read_policy(path.as_ref())?,
            None if keys.is_empty() => Trust::File,
            None => Trust::Keys(keys),
        };
        let brought = Brought { checkpoints: kept, bundles };
        Ok(Asked::Check(Self { file, trust, brought, disclosures, lang, json }))
    }
}

/// A word that is typed again in a sentence: what is no text in it stands there as a sign for that.
fn shown(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

fn read_lang(word: &str) -> Result<Lang, String> {
    match word {
        "en" => Ok(Lang::En),
        "ko" => Ok(Lang::Ko),
        other => Err(format!("`{other}` is no language here: say `en` or `ko`")),
    }
}

fn read_key(vkey: &str) -> Result<VerifierKey, String> {
    vkey.parse().map_err(|cause| format!("`--key {vkey}`: {cause}"))
}

/// One signed note after another, perhaps with empty lines between them.
fn read_notes(path: &Path) -> Result<Vec<String>, String> {
    let text = read_file(path)?;
    let mut notes = vec![String::new()];
    let mut signed = false;
    for line in text.lines() {
        let signature = line.starts_with(SIGNATURE);
        if signed && !signature {
            notes.push(String::new());
        }
        signed = signature;
        if let Some(note) = notes.last_mut().filter(|note| !(note.is_empty() && line.is_empty())) {
            note.push_str(line);
            note.push('\n');
        }
    }
    notes.retain(|note| !note.is_empty());
    let holds = |note: &String| {
        let note: Option<Note> = note.parse().ok();
        note.is_some_and(|note| note.text().parse::<Checkpoint>().is_ok())
    };
    if notes.is_empty() || !notes.iter().all(holds) {
        return Err(format!("`{}` holds something else than signed checkpoints", path.display()));
    }
    Ok(notes)
}

fn read_bundles(path: &Path) -> Result<Vec<Digest>, String> {
    let text = read_file(path)?;
    let digests = Digest::read_list(&text);
    digests.map_err(|line| {
        let line: String = line.chars().take(SHOWN).collect();
        let line = line.escape_debug();
        format!("`{line}` in `{}` is no digest of a bundle", path.display())
    })
}

fn read_file(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(read_bytes(path)?);
    text.map_err(|_| format!("`{}`: it is no text in UTF-8", path.display()))
}

/// A file beside what is checked. It may be from who is checked too, so it does not fill the memory.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes));
    match file {
        Ok(read) if read as u64 > MAX => {
            Err(format!("`{}`: it is longer than {MAX} bytes", path.display()))
        }
        Ok(_) => Ok(bytes),
        Err(cause) => Err(format!("`{}`: {cause}", path.display())),
    }
}

fn read_policy(path: &Path) -> Result<Trust, String> {
    let text = read_file(path)?;
    text.parse().map(Trust::Policy).map_err(|cause| format!("`{}`: {cause}", path.display()))
}

/// Ten thousand bundles, or the checkpoints of sixteen lanes with all the cosignatures that a note may have.
const MAX: u64 = 4 * 1024 * 1024;
/// Characters of a line that is shown again.
const SHOWN: usize = 80;
/// What a signature line of a signed note begins with.
const SIGNATURE: &str = "\u{2014} ";

pub(crate) const HELP: &str = "\
haetae-verify: check an exported decision log, offline

usage: haetae-verify FILE [--trust POLICY_FILE | --key VKEY ...] [--checkpoint FILE ...]
                     [--bundles FILE ...] [--disclosure FILE ...] [--lang en|ko] [--json]

  FILE               made by `haetae log export`; or one record's proof, made by `haetae log prove`
  --trust FILE       whom you trust: C2SP tlog-policy lines (log, witness, group, quorum)
  --key VKEY         the public key of a lane, got from elsewhere than this file; once for each lane
  --checkpoint FILE  signed checkpoints that you kept from earlier (as `haetae log checkpoint` prints them, or
                     from a witness): the log must still hold all that they cover; one record's proof can be held
                     only against one of its own size
  --bundles FILE     digests of the bundles that were approved, one a line (base64 or hex): a decision under another is
                     a finding; without it those count that the log itself says were in force
  --disclosure FILE  what one field of the record hides (`haetae audit disclose`), beside the record's proof; once for
                     each
  --lang en|ko       language of the sentences (en)
  --json             one JSON object instead of sentences; its `exit` is of the whole, `disclosures` and `checkpoints`
                     have each one's
  -h, --help         this text
  -V, --version      version

Without --trust and --key the keys in the file itself are used. That proves only that the file
agrees with itself, and the exit code is 3.

exit codes: 0 whole; 1 something is wrong, each finding one line; 2 the file (or what was typed)
cannot be read; 3 nothing wrong was found, but not everything could be checked: as of a file that does
not begin at the first record of each lane";

#[cfg(test)]
mod tests {
    //! What `haetae log checkpoint` prints for several lanes is read as that many notes.

    use tlog::{Hash, Signer as _, SigningKey, key::Kind};

    use super::*;

    #[test]
    fn notes_one_after_another_are_read_apart() {
        let note = |origin: &str| {
            let key = SigningKey::from_seed(origin, Kind::Ed25519, &[7; 32]).unwrap();
            let name = key.verifier().name().to_owned();
            Checkpoint::new(name, 3, Hash::leaf(b"x")).sign(&key).unwrap().to_string()
        };
        let (one, other) = (note("gw.example/log/0"), note("gw.example/log/1"));
        let path = std::env::temp_dir().join(format!("haetae-notes-{}", std::process::id()));
        let path = path.as_path();
        for text in [format!("{one}\n{other}\n"), format!("{one}{other}")] {
            fs::write(path, text).unwrap();
            assert_eq!(read_notes(path).unwrap(), [one.clone(), other.clone()]);
        }
        fs::write(path, "something else\n").unwrap();
        let error = read_notes(path).unwrap_err();
        fs::remove_file(path).unwrap();
        assert!(error.ends_with("holds something else than signed checkpoints"), "{error}");
    }
}
