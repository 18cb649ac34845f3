//! The export file as lines: bytes in, one typed line after another out, each with its place in the file.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value};
use tlog::Hash;

use crate::ReadError;

/// The longest lines are texts: a bundle of some hundred kB in base64. Sixteen times that.
pub const LINE_MAX: u64 = 16 * 1024 * 1024;

/// Format and version that this crate reads.
pub const FORMAT: (&str, u64) = ("haetae-export", 1);

#[derive(Debug)]
pub enum Line<'l> {
    Header(Header),
    Vkey(Vkey<'l>),
    Checkpoint(CheckpointLine<'l>),
    Tile(TileLine<'l>),
    Text(TextLine<'l>),
    Leaf(LeafLine<'l>),
    Row(Map<String, Value>),
    End(End),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Header {
    pub format: String,
    pub v: u64,
    pub build: String,
    pub created: String,
    pub lanes: Vec<LaneHeader>,
}

/// What the file holds of one lane: leaves `from..to`, rows of those before `projected`.
#[derive(Debug, Clone, Deserialize)]
pub struct LaneHeader {
    pub lane: u16,
    pub origin: String,
    pub from: u64,
    pub to: u64,
    pub projected: u64,
    /// Roots of the perfect subtrees before `from`, largest first.
    pub left: Vec<Digest>,
}

#[derive(Debug, Deserialize)]
pub struct Vkey<'l> {
    pub lane: u16,
    #[serde(borrow)]
    pub vkey: Cow<'l, str>,
}

#[derive(Debug, Deserialize)]
pub struct CheckpointLine<'l> {
    pub lane: u16,
    pub size: u64,
    #[serde(borrow)]
    pub note: Cow<'l, str>,
}

#[derive(Debug, Deserialize)]
pub struct TileLine<'l> {
    pub lane: u16,
    pub level: u8,
    pub n: u64,
    #[serde(borrow)]
    hashes: Cow<'l, str>,
}

impl TileLine<'_> {
    /// The 256 hashes; `None` when it is not exactly as many.
    #[must_use]
    pub fn hashes(&self) -> Option<Vec<Hash>> {
        let hashes = Hash::many(&STANDARD.decode(&*self.hashes).ok()?)?;
        (hashes.len() == usize::from(tlog::tile::WIDTH)).then_some(hashes)
    }
}

#[derive(Debug, Deserialize)]
pub struct TextLine<'l> {
    #[serde(borrow)]
    pub kind: Cow<'l, str>,
    pub digest: Digest,
    #[serde(borrow)]
    bytes: Cow<'l, str>,
}

impl TextLine<'_> {
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&*self.bytes).ok()
    }
}

#[derive(Debug, Deserialize)]
pub struct LeafLine<'l> {
    pub lane: u16,
    pub index: u64,
    #[serde(borrow)]
    mark: Cow<'l, str>,
    #[serde(borrow)]
    bytes: Cow<'l, str>,
}

impl LeafLine<'_> {
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&*self.bytes).ok()
    }

    /// Whether the mark is that of this leaf hash.
    #[must_use]
    pub fn is_marked(&self, hash: &Hash) -> bool {
        let mark = STANDARD.decode(&*self.mark).unwrap_or_default();
        mark.len() == MARK_BYTES && hash.0.starts_with(&mark)
    }
}

/// How many lines of each type stand before the last line, and the digest of all their bytes.
#[derive(Debug, Clone, Deserialize)]
pub struct End {
    pub lines: u64,
    pub leaves: u64,
    pub texts: u64,
    pub checkpoints: u64,
    pub rows: u64,
    pub tiles: u64,
    pub vkeys: u64,
    pub sha256: Digest,
}

/// A SHA-256 in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(|hash: Hash| Self(hash.0))
    }

    /// As people hand it on: as records write it, or in hex with or without `sha256:` before it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::from_hex(text.strip_prefix("sha256:").unwrap_or(text)).or_else(|| Self::parse(text))
    }

    /// One a line; empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// The first line that is no digest.
    pub fn read_list(text: &str) -> Result<Vec<Self>, &str> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| Self::read(line).ok_or(line)).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> =
            text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
        let (pairs, _odd) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        if digits.len() == 64 { bytes.try_into().ok().map(Self) } else { None }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(reader)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Hash(self.0).fmt(out)
    }
}

#[derive(Deserialize)]
struct Tag<'l> {
    #[serde(borrow)]
    r#type: Cow<'l, str>,
}

#[derive(Deserialize)]
struct RowLine {
    row: Map<String, Value>,
}

/// The order of lines, within a type and between types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Header,
    Vkey(u16),
    Checkpoint(u16, u64),
    Tile(u16, u8, u64),
    Text(Digest),
    Record,
    End,
}

impl Line<'_> {
    /// Where this line stands in the file: never before the line before it.
    #[must_use]
    pub const fn order(&self) -> Order {
        match self {
            Self::Header(_) => Order::Header,
            Self::Vkey(vkey) => Order::Vkey(vkey.lane),
            Self::Checkpoint(note) => Order::Checkpoint(note.lane, note.size),
            Self::Tile(tile) => Order::Tile(tile.lane, tile.level, tile.n),
            Self::Text(text) => Order::Text(text.digest),
            Self::Leaf(_) | Self::Row(_) => Order::Record,
            Self::End(_) => Order::End,
        }
    }
}

/// Reads one line, its newline not included. `None` when it is no line of this format.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let tag: Tag<'_> = serde_json::from_slice(line).ok()?;
    let read = match &*tag.r#type {
        "header" => Line::Header(of(line)?),
        "vkey" => Line::Vkey(of(line)?),
        "checkpoint" => Line::Checkpoint(of(line)?),
        "tile" => Line::Tile(of(line)?),
        "text" => Line::Text(of(line)?),
        "leaf" => Line::Leaf(of(line)?),
        "row" => Line::Row(of::<RowLine>(line)?.row),
        "end" => Line::End(of(line)?),
        _ => return None,
    };
    Some(read)
}

fn of<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

/// Reads a file line by line into one buffer.
pub struct Lines {
    file: BufReader<File>,
    buffer: Vec<u8>,
    next: Place,
}

/// Where a line stands: its number (from 1) and its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub number: u64,
    pub offset: u64,
}

impl Lines {
    /// From the place of a line onwards.
    pub fn from(mut file: File, place: Place) -> io::Result<Self> {
        file.seek(SeekFrom::Start(place.offset))?;
        Ok(Self {
            file: BufReader::with_capacity(READ_BYTES, file),
            buffer: Vec::new(),
            next: place,
        })
    }

    #[must_use]
    pub const fn start() -> Place {
        Place { number: 1, offset: 0 }
    }

    /// The next line with its newline; without one only where the file ends in the middle of a line.
    pub fn read(&mut self) -> Result<Option<(Place, &[u8])>, ReadError> {
        let place = self.next;
        self.buffer.clear();
        let mut limited = (&mut self.file).take(LINE_MAX + 1);
        let read = limited.read_until(b'\n', &mut self.buffer)? as u64;
        if read > LINE_MAX {
            return Err(ReadError::LongLine(place.number));
        }
        self.next = Place { number: place.number + 1, offset: place.offset + read };
        Ok((read > 0).then_some((place, self.buffer.as_slice())))
    }
}

/// The bytes of a line that was read before.
pub fn again(file: &mut File, (offset, length): (u64, usize)) -> io::Result<Vec<u8>> {
    let mut line = vec![0; length];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut line)?;
    Ok(line)
}

const MARK_BYTES: usize = 8;
/// A few hundred records at a time.
const READ_BYTES: usize = 256 * 1024;
