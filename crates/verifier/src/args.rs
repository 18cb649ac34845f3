//! The command line: words in, what is asked out.

use std::{fs, path::PathBuf};

use haetae_verify::Trust;
use tlog::VerifierKey;

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
    pub lang: Lang,
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    Ko,
}

impl Args {
    /// Reads the words after the program's name.
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut words = words;
        let (mut file, mut policy, mut keys) = (None, None, Vec::new());
        let (mut lang, mut json) = (Lang::En, false);
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| format!("`{word}` wants a value: see `--help`"));
            match word.as_str() {
                "-h" | "--help" => return Ok(Asked::Help),
                "-V" | "--version" => return Ok(Asked::Version),
                "--json" => json = true,
                "--lang" => lang = read_lang(&value()?)?,
                "--key" => keys.push(read_key(&value()?)?),
                "--trust" => policy = Some(value()?),
                option if option.starts_with('-') => {
                    return Err(format!("`{option}` is not an option: see `--help`"));
                }
                _ if file.is_none() => file = Some(PathBuf::from(word)),
                _ => return Err(format!("one file at a time, `{word}` is a second one")),
            }
        }
        let file = file.ok_or("which file? see `--help`")?;
        let trust = match policy {
            Some(_) if !keys.is_empty() => {
                return Err("`--trust` and `--key` at once: the trust file names the keys".into());
            }
            Some(path) => read_policy(&path)?,
            None if keys.is_empty() => Trust::File,
            None => Trust::Keys(keys),
        };
        Ok(Asked::Check(Self { file, trust, lang, json }))
    }
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

fn read_policy(path: &str) -> Result<Trust, String> {
    let text = fs::read_to_string(path).map_err(|cause| format!("`{path}`: {cause}"))?;
    text.parse().map(Trust::Policy).map_err(|cause| format!("`{path}`: {cause}"))
}

pub(crate) const HELP: &str = "\
haetae-verify: check an exported decision log, offline

usage: haetae-verify FILE [--trust POLICY_FILE | --key VKEY ...] [--lang en|ko] [--json]

  FILE               made by `haetae log export`
  --trust FILE       whom you trust: C2SP tlog-policy lines (log, witness, group, quorum)
  --key VKEY         the public key of a lane, got from elsewhere than this file; once for each lane
  --lang en|ko       language of the sentences (en)
  --json             one JSON object instead of sentences
  -h, --help         this text
  -V, --version      version

Without --trust and --key the keys in the file itself are used. That proves only that the file
agrees with itself, and the exit code is 3.

exit codes: 0 whole; 1 something is wrong, each finding one line; 2 the file (or what was typed)
cannot be read; 3 nothing wrong was found, but not everything could be checked";
