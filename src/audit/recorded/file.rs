//! An export file read back: docs/record.md, "The export file".

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::AuditError;

/// An export file (docs/record.md, "The export file"), opened.
#[derive(Debug)]
pub struct ExportFile {
    file: File,
    /// Where the line of each text of facts is: offset and length.
    facts: HashMap<[u8; 32], (u64, usize)>,
    /// Where the first leaf is, and where the file ends.
    leaves: (u64, u64),
    /// What the file says of itself, for a report.
    pub about: Vec<String>,
}

/// A line as far as it is read here.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    r#type: Cow<'l, str>,
    #[serde(borrow, default)]
    kind: Cow<'l, str>,
    #[serde(borrow, default)]
    digest: Cow<'l, str>,
    #[serde(borrow, default)]
    bytes: Cow<'l, str>,
}

impl ExportFile {
    /// Reads everything before the leaves, and that the last line ends the file.
    ///
    /// # Errors
    /// When it is no export file, of another version, or cut short.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let end = last_line(&file, length)?;
        let mut reader = BufReader::new(file.try_clone()?);
        let (mut at, mut line, mut facts) = (0, Vec::new(), HashMap::new());
        let mut about = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if at == 0 {
                about = header(&line, &end)?;
            }
            let parsed: Line<'_> = parse(&line)?;
            if parsed.r#type == "leaf" || parsed.r#type == "end" {
                break;
            }
            if parsed.r#type == "text" && parsed.kind == "facts" {
                facts.insert(digest(&parsed.digest)?, (at, read));
            }
            at += read as u64;
        }
        Ok(Self { file, facts, leaves: (at, length), about })
    }

    /// How many bytes of leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.leaves.1 - self.leaves.0
    }

    /// Hands over the part with the leaves in pieces of whole lines, until `each` says that it wants no more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pieces(&self, each: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), AuditError> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.leaves.0))?;
        let mut rest = Vec::new();
        loop {
            let mut piece = std::mem::take(&mut rest);
            piece.reserve(PIECE_ROOM);
            let read = (&mut file).take(PIECE_BYTES).read_to_end(&mut piece)?;
            let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            rest = piece.split_off(whole);
            if rest.len() > LINE_MAX {
                return Err(AuditError::Content("a line of the export file has no end".into()));
            }
            if (!piece.is_empty() && !each(piece)) || read == 0 {
                return Ok(());
            }
        }
    }

    /// Calls back with each leaf of a piece.
    ///
    /// # Errors
    /// When a line is not as an export has it.
    pub fn leaves(piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), AuditError> {
        let (mut leaf, mut rest) = (Vec::new(), piece);
        while !rest.is_empty() {
            let line = upto(&mut rest, b'\n')?;
            if line.is_empty() || line.starts_with(ROW) {
                continue;
            }
            let bytes = match leaf_bytes(line)? {
                Some(bytes) => Cow::Borrowed(bytes),
                None => match parse::<Line<'_>>(line)? {
                    line if line.r#type == "leaf" => Cow::Owned(line.bytes.as_bytes().to_vec()),
                    _ => continue,
                },
            };
            leaf.clear();
            let decoded = STANDARD.decode_vec(&bytes, &mut leaf);
            decoded.map_err(|error| AuditError::Content(format!("a leaf: {error}")))?;
            each(&leaf);
        }
        Ok(())
    }

    /// The facts text of this digest; `None` when the file does not have it.
    ///
    /// # Errors
    /// When the file cannot be read, or what it has is not of that digest.
    pub fn facts(&self, wanted: &[u8; 32]) -> Result<Option<Vec<u8>>, AuditError> {
        let Some((at, length)) = self.facts.get(wanted).copied() else { return Ok(None) };
        let mut line = vec![0; length];
        self.file.read_exact_at(&mut line, at)?;
        let parsed: Line<'_> = parse(&line)?;
        let text = STANDARD.decode(parsed.bytes.as_bytes());
        let text = text.map_err(|error| AuditError::Content(format!("a text: {error}")))?;
        checked(text, wanted).map(Some)
    }
}

/// The base64 of a line that is a leaf as every export writes it; `None` where it must be read as JSON. Whatever else the
/// line has between is not looked at, as below.
fn leaf_bytes(line: &[u8]) -> Result<Option<&[u8]>, AuditError> {
    let Some(mut rest) = line.strip_prefix(LEAF_FROM).filter(|it| it.ends_with(LEAF_TO)) else {
        return Ok(None);
    };
    let bytes = upto(&mut rest, b'"')?;
    Ok(rest.starts_with(LEAF_THEN).then_some(bytes))
}

/// What stands before the next such byte, or the end; both are taken off. (This way a line is sought by many bytes at once.)
fn upto<'p>(rest: &mut &'p [u8], byte: u8) -> Result<&'p [u8], AuditError> {
    let all = *rest;
    let taken = rest.skip_until(byte)?;
    let found = all.get(..taken).unwrap_or_default();
    Ok(found.strip_suffix(&[byte]).unwrap_or(found))
}

/// The text, if it is of that digest.
pub(super) fn checked(text: Vec<u8>, wanted: &[u8; 32]) -> Result<Vec<u8>, AuditError> {
    if Sha256::digest(&text).as_slice() == wanted {
        return Ok(text);
    }
    let wanted = STANDARD.encode(wanted);
    Err(AuditError::Content(format!("the text {wanted} does not have this digest")))
}

fn header(line: &[u8], end: &Value) -> Result<Vec<String>, AuditError> {
    let header: Value = parse(line)?;
    let is = |key: &str, wanted: &Value| header.get(key) == Some(wanted);
    if !is("type", &"header".into()) || !is("format", &FORMAT.into()) || !is("v", &1.into()) {
        return Err(AuditError::Content("this is no export of a log in version 1".into()));
    }
    let said = |value: &Value, key: &str| {
        let said = value.get(key);
        said.map_or_else(String::new, |it| {
            it.as_str().map_or_else(|| it.to_string(), str::to_owned)
        })
    };
    let mut about = vec![format!(
        "records of an export created {}, sha256 {} by its own last line",
        said(&header, "created"),
        said(end, "sha256"),
    )];
    for lane in header.get("lanes").and_then(Value::as_array).into_iter().flatten() {
        let (origin, from, to) = (said(lane, "origin"), said(lane, "from"), said(lane, "to"));
        about.push(format!("lane {origin} from {from} to before {to}"));
    }
    Ok(about)
}

/// The last line, which must be the one that ends an export.
fn last_line(file: &File, length: u64) -> Result<Value, AuditError> {
    let cut =
        || AuditError::Content("the export file is cut short: its last line is not its end".into());
    let from = length.saturating_sub(END_BYTES);
    let mut tail = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut tail, from)?;
    let lines = tail.strip_suffix(b"\n").ok_or_else(cut)?;
    let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let end: Value = serde_json::from_slice(last).map_err(|_| cut())?;
    if end.get("type").and_then(Value::as_str) == Some("end") { Ok(end) } else { Err(cut()) }
}

fn parse<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Result<T, AuditError> {
    let parsed = serde_json::from_slice(line);
    parsed.map_err(|error| AuditError::Content(format!("a line of the export file: {error}")))
}

fn digest(text: &str) -> Result<[u8; 32], AuditError> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| AuditError::Content(format!("`{text}` is no digest")))
}

const FORMAT: &str = "haetae-export";
/// How a row begins, which half of the lines are.
const ROW: &[u8] = b"{\"row\":";
/// How the line of a leaf begins, goes on after its bytes, and ends.
const LEAF_FROM: &[u8] = b"{\"bytes\":\"";
const LEAF_THEN: &[u8] = b",\"index\":";
const LEAF_TO: &[u8] = b",\"type\":\"leaf\"}";
/// What is read at once: small enough to stay in the cache of a core that reads it again.
const PIECE_BYTES: u64 = 512 * 1024;
/// Room for it, with the beginning of a line before it and the end of the file noticed behind.
const PIECE_ROOM: usize = 544 * 1024;
/// A leaf has at most 65,535 bytes: in base64 and with its keys, far below this.
const LINE_MAX: usize = 1024 * 1024;
/// The last line is about 250 bytes.
const END_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    //! Proves that a leaf is read the same however its line is written, and that a line that is none is an error.

    use super::*;

    fn leaves(piece: &str) -> Result<Vec<String>, AuditError> {
        let mut found = Vec::new();
        ExportFile::leaves(piece.as_bytes(), &mut |leaf| {
            found.push(String::from_utf8(leaf.to_vec()).unwrap());
        })?;
        Ok(found)
    }

    #[test]
    fn a_leaf_is_read_however_its_line_is_written() {
        let bytes = STANDARD.encode("{\"kind\":\"decision\"}");
        let lines = [
            format!(
                r#"{{"bytes":"{bytes}","index":7,"lane":0,"mark":"AAAAAAAAAAA=","type":"leaf"}}"#
            ),
            format!(
                r#"{{"type":"leaf","bytes":"{bytes}","index":7,"lane":0,"mark":"AAAAAAAAAAA="}}"#
            ),
            format!(r#"{{ "bytes": "{bytes}", "index": 7, "type": "leaf" }}"#),
            format!(r#"{{"bytes":"{}","type":"leaf"}}"#, bytes.replace('e', "\\u0065")),
        ];
        let others = [
            r#"{"row":{"kind":"decision"},"type":"row"}"#.to_owned(),
            String::new(),
            format!(r#"{{"bytes":"{bytes}","digest":"x","kind":"facts","type":"text"}}"#),
            r#"{"lines":9,"sha256":"x","type":"end"}"#.to_owned(),
        ];
        let all: Vec<String> = lines.iter().chain(&others).cloned().collect();
        for piece in [all.join("\n"), all.join("\n") + "\n"] {
            assert_eq!(leaves(&piece).unwrap(), vec!["{\"kind\":\"decision\"}"; lines.len()]);
        }
    }

    #[test]
    fn a_line_that_is_no_line_of_an_export_is_an_error() {
        for line in [
            r#"{"bytes":"AAAA","index":7,"type":"#,
            r#"{"bytes":"A*AA","index":7,"lane":0,"mark":"","type":"leaf"}"#,
            r#"{"bytes":"AAAA,"index":7,"lane":0,"type":"leaf"}"#,
            "leaf",
        ] {
            assert!(leaves(line).is_err(), "{line}");
        }
    }
}
