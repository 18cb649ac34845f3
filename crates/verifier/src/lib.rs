//! The reviewer's offline check of an exported log: one file and a trusted key in, "whole" or the first differences out.
//!
//! Reading order: [`trust`] (whose signature counts), [`export`] (the lines of the file), `frame` (first pass: the file
//! as a whole, its keys, checkpoints, tiles and texts), `known` (what the reviewer saw before), `heads` (what heartbeats saw), `records` (second pass: every leaf), of that `lane` (one tree)
//! and `said` with `joins` (what records say, and say of each other), `judge` (the decision again) with `bounds` (how much of it) and [`evidence`] (access), [`follow`] (a log that grows,
//! without a file), `announced` (which bundles may have decided) and `horizon` (up to where a file shows all), [`finding`] (what is wrong, in two
//! languages), [`report`] (what is said in the end); [`single`] is one record with its proof, without an export, [`disclosed`] what one of its fields hides. The format is fixed in `docs/record.md`.
//!
//! *Invariant:* no network, no database, no clock, nothing of the gateway; nothing in the file can make it panic, and
//! nothing the file says of itself is trusted unless the report says so.

mod announced;
mod bounds;
pub mod disclosed;
pub mod evidence;
pub mod export;
pub mod finding;
pub mod follow;
mod frame;
mod heads;
mod horizon;
mod instant;
mod joins;
mod judge;
mod known;
mod lane;
mod record;
mod records;
pub mod report;
mod said;
pub mod single;
pub mod trust;

use std::{fs::File, io, path::Path};

use announced::Announced;
pub use finding::Finding;
pub use follow::{Beside, Follower, Piece};
pub use report::Report;
pub use said::Texts;
pub use trust::Trust;

/// Checks an exported log. Reads the file twice, and once more where a decision is judged; memory grows by about
/// 60 bytes a record.
pub fn verify(path: &Path, trust: &Trust) -> Result<Report, ReadError> {
    verify_against(path, trust, &Brought::default())
}

/// The same, and that the log still holds what these signed checkpoints said of it when the reviewer kept them: nobody
/// who only has the database, nor who has the key too, can take that back.
pub fn verify_since(path: &Path, trust: &Trust, kept: &[String]) -> Result<Report, ReadError> {
    verify_against(path, trust, &Brought { checkpoints: kept.to_vec(), bundles: None })
}

/// The same, against all that the reviewer brings.
pub fn verify_against(path: &Path, trust: &Trust, brought: &Brought) -> Result<Report, ReadError> {
    let mut report = Report::default();
    let frame = frame::read(File::open(path)?, trust, &brought.checkpoints, &mut report)?;
    let announced = Announced::new(brought.bundles.clone());
    records::read(File::open(path)?, File::open(path)?, &frame, announced, &mut report)?;
    Ok(report)
}

/// What a reviewer has from elsewhere than the file, to hold it against.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// Signed checkpoints that were kept.
    pub checkpoints: Vec<String>,
    /// Digests of the bundles that were approved; none other may have decided. Without them those count that the log announces, and who
    /// holds its key can announce any.
    pub bundles: Option<Vec<export::Digest>>,
}

/// Why nothing was checked.
#[derive(Debug)]
pub enum ReadError {
    Io(io::Error),
    /// The first line is not the header of an export of a version that we know.
    NotAnExport,
    /// A line of more than [`export::LINE_MAX`] bytes, by its number.
    LongLine(u64),
}

impl From<io::Error> for ReadError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(cause) => write!(out, "the file cannot be read: {cause}"),
            Self::NotAnExport => out.write_str(
                "not an export of version 1: the first line of one is made by `haetae log export`",
            ),
            Self::LongLine(line) => {
                write!(out, "line {line} is longer than {} bytes", export::LINE_MAX)
            }
        }
    }
}

impl std::error::Error for ReadError {}
