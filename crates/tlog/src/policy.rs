//! Trust files (C2SP tlog-policy): which logs, which witnesses, and how many of them are enough.
//!
//! The format allows any octets above 0x7f in names and comments; we read UTF-8, which it recommends.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use crate::{
    checkpoint::{Checkpoint, decimal},
    key::{KeyError, Kind, VerifierKey},
    note::{Note, NoteError},
};

/// Whom a reader trusts. A checkpoint is trusted when one of the logs signed it and the quorum of witnesses cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub logs: Vec<Log>,
    pub witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The key's name is the log's origin.
    pub key: VerifierKey,
    pub url: Option<String>,
}

/// A witness under the name by which the file speaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub name: String,
    pub key: VerifierKey,
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    /// So many members are enough.
    threshold: usize,
    members: Vec<Member>,
}

/// A place in `witnesses` or in `groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Witness(usize),
    Group(usize),
    /// With a key of a type that we cannot check: it counts among the members, and never among those that cosigned.
    Unsupported(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    None,
    Of(Member),
}

/// A checkpoint that satisfies a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted<'p> {
    pub checkpoint: Checkpoint,
    pub log: &'p Log,
    /// Witnesses that cosigned, with their times (Unix seconds), in the order of the file.
    pub witnessed: Vec<(&'p Witness, u64)>,
}

impl Policy {
    /// Trust in one log and no witness.
    #[must_use]
    pub fn of_log(key: VerifierKey) -> Self {
        let logs = Vec::from([Log { key, url: None }]);
        Self { logs, witnesses: Vec::new(), groups: Vec::new(), quorum: Quorum::None }
    }

    /// Reads a signed checkpoint and holds it against the policy.
    pub fn check(&self, note: &str) -> Result<Trusted<'_>, TrustError> {
        let note: Note = note.parse().map_err(TrustError::Note)?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|_| TrustError::NotACheckpoint)?;
        let of_origin = self.logs.iter().filter(|log| log.key.name() == checkpoint.origin);
        let logs: Vec<&Log> = of_origin.collect();
        if logs.is_empty() {
            return Err(TrustError::UnknownLog(checkpoint.origin));
        }
        let signed = note.verify(logs.iter().map(|log| &log.key)).map_err(TrustError::Note)?;
        let by = |log: &&&Log| signed.iter().any(|signature| signature.key == &log.key);
        let log = logs.iter().find(by).copied().ok_or(TrustError::Note(NoteError::Unsigned))?;
        let witnessed = self.witnessed(&note)?;
        let missing = !self.is_quorum(|at| witnessed.iter().any(|(found, _)| *found == at));
        if missing {
            return Err(TrustError::Quorum { cosigned: witnessed.len() });
        }
        let named = |(at, time)| self.witnesses.get(at).map(|witness| (witness, time));
        Ok(Trusted {
            checkpoint,
            log,
            witnessed: witnessed.into_iter().filter_map(named).collect(),
        })
    }

    /// Whether cosignatures of the witnesses of these names are enough.
    #[must_use]
    pub fn is_enough(&self, cosigned: &[&str]) -> bool {
        let named =
            |at: usize| self.witnesses.get(at).is_some_and(|w| cosigned.contains(&&*w.name));
        self.is_quorum(named)
    }

    /// Which witnesses cosigned, as places in `witnesses`, and when.
    fn witnessed(&self, note: &Note) -> Result<Vec<(usize, u64)>, TrustError> {
        let keys = self.witnesses.iter().map(|witness| &witness.key);
        let verified = match note.verify(keys) {
            Ok(verified) => verified,
            Err(NoteError::Unsigned) => Vec::new(),
            Err(bad) => return Err(TrustError::Note(bad)),
        };
        let time = |key: &VerifierKey| verified.iter().find(|v| v.key == key)?.at;
        let each = self.witnesses.iter().enumerate();
        Ok(each.filter_map(|(at, witness)| Some((at, time(&witness.key)?))).collect())
    }

    fn is_quorum(&self, cosigned: impl Fn(usize) -> bool) -> bool {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        // A group names only earlier ones, so one pass in order is enough.
        for group in &self.groups {
            let members = group.members.iter();
            let count = members.filter(|member| holds(**member, &cosigned, &groups)).count();
            groups.push(count >= group.threshold);
        }
        match self.quorum {
            Quorum::None => true,
            Quorum::Of(member) => holds(member, &cosigned, &groups),
        }
    }
}

fn holds(member: Member, cosigned: &impl Fn(usize) -> bool, groups: &[bool]) -> bool {
    match member {
        Member::Witness(at) => cosigned(at),
        Member::Group(at) => groups.get(at).copied().unwrap_or(false),
        Member::Unsupported(_) => false,
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        for (at, line) in text.split('\n').enumerate() {
            reader.line(line).map_err(|wrong| PolicyError { line: at + 1, wrong })?;
        }
        let end = PolicyError { line: text.lines().count(), wrong: Wrong::NoQuorum };
        let quorum = reader.quorum.ok_or(end)?;
        let Reader { logs, witnesses, groups, .. } = reader;
        Ok(Self { logs, witnesses, groups, quorum })
    }
}

#[derive(Default)]
struct Reader {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// Names of witnesses whose keys are of types that we cannot check.
    unsupported: Vec<String>,
    quorum: Option<Quorum>,
    /// Members of groups so far: a name may stand in one group only.
    used: Vec<Member>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Wrong> {
        if line.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(Wrong::Control);
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match *words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, ref members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            _ => Err(Wrong::Line),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), Wrong> {
        let key: VerifierKey = match key.parse() {
            // It signs nothing that we could trust; the file's other keys still do.
            Err(KeyError::Unsupported(_)) => return Ok(()),
            other => other.map_err(Wrong::Key)?,
        };
        if self.logs.iter().any(|log| log.key.public() == key.public()) {
            return Err(Wrong::Duplicate(key.name().to_string()));
        }
        self.logs.push(Log { key, url: url.map(Into::into) });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), Wrong> {
        let key: VerifierKey = match key.parse() {
            Err(KeyError::Unsupported(_)) => {
                self.is_free(name)?;
                self.unsupported.push(name.into());
                return Ok(());
            }
            other => other.map_err(Wrong::Key)?,
        };
        if key.kind() != Kind::Cosignature {
            return Err(Wrong::NotAWitness);
        }
        let same = |witness: &Witness| witness.key.public() == key.public();
        if self.witnesses.iter().any(same) {
            return Err(Wrong::Duplicate(name.to_string()));
        }
        self.is_free(name)?;
        self.witnesses.push(Witness { name: name.into(), key, url: url.map(Into::into) });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, names: &[&str]) -> Result<(), Wrong> {
        self.is_free(name)?;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let member = self.member(name)?;
            if self.used.contains(&member) {
                return Err(Wrong::Duplicate((*name).to_string()));
            }
            self.used.push(member);
            members.push(member);
        }
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            digits => {
                let number = decimal(digits).and_then(|number| usize::try_from(number).ok());
                number.ok_or(Wrong::Threshold)?
            }
        };
        if threshold == 0 || threshold > members.len() {
            return Err(Wrong::Threshold);
        }
        self.groups.push(Group { name: name.into(), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), Wrong> {
        if self.quorum.is_some() {
            return Err(Wrong::SecondQuorum);
        }
        let none = name == NONE;
        self.quorum = Some(if none { Quorum::None } else { Quorum::Of(self.member(name)?) });
        Ok(())
    }

    fn member(&self, name: &str) -> Result<Member, Wrong> {
        let witness = self.witnesses.iter().position(|witness| witness.name == name);
        let group = || self.groups.iter().position(|group| group.name == name);
        let unsupported = || self.unsupported.iter().position(|of| of == name);
        let member = witness.map(Member::Witness).or_else(|| group().map(Member::Group));
        let member = member.or_else(|| unsupported().map(Member::Unsupported));
        member.ok_or_else(|| Wrong::Undefined(name.to_string()))
    }

    fn is_free(&self, name: &str) -> Result<(), Wrong> {
        let taken = name == NONE || self.member(name).is_ok();
        if taken { Err(Wrong::Duplicate(name.to_string())) } else { Ok(()) }
    }
}

/// What is wrong with a policy file, and in which line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    pub line: usize,
    pub wrong: Wrong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    Line,
    Control,
    Key(KeyError),
    NotAWitness,
    Duplicate(String),
    Undefined(String),
    Threshold,
    SecondQuorum,
    NoQuorum,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: ", self.line)?;
        match &self.wrong {
            Wrong::Line => out.write_str("neither a `log`, a `witness`, a `group` nor a `quorum`"),
            Wrong::Control => out.write_str("a control character"),
            Wrong::Key(cause) => cause.fmt(out),
            Wrong::NotAWitness => out.write_str("a witness wants a key of type 0x04"),
            Wrong::Duplicate(name) => write!(out, "`{name}` is there already"),
            Wrong::Undefined(name) => write!(out, "`{name}` is not defined in an earlier line"),
            Wrong::Threshold => out.write_str("the threshold is not between 1 and the members"),
            Wrong::SecondQuorum => out.write_str("a second `quorum`"),
            Wrong::NoQuorum => {
                out.write_str("a `quorum` line is missing: write `quorum none` for none")
            }
        }
    }
}

impl core::error::Error for PolicyError {}

/// Why a checkpoint is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustError {
    Note(NoteError),
    NotACheckpoint,
    UnknownLog(String),
    /// The witnesses that cosigned are not enough.
    Quorum {
        cosigned: usize,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(cause) => cause.fmt(out),
            Self::NotACheckpoint => out.write_str("the note is not a checkpoint"),
            Self::UnknownLog(origin) => write!(out, "the log `{origin}` is not a trusted one"),
            Self::Quorum { cosigned } => {
                write!(out, "{cosigned} known witnesses cosigned, which is not the quorum")
            }
        }
    }
}

impl core::error::Error for TrustError {}

/// Predefined: no cosignature is asked for.
const NONE: &str = "none";
