//! The bytes of an HTTP/1 connection as they pass: where each head begins and ends, and whether there is exactly one
//! way to read it.
//!
//! hyper is lenient where we may not be: it drops Content-Length when Transfer-Encoding is there too, folds equal
//! Content-Lengths into one, takes a bare LF as a line end, cuts a `#` off the target. After parsing this can no longer
//! be seen, so it is looked for before. What passes here is read by hyper in the same way (RFC 9112, sections 2 to 7).
//!
//! *Invariant:* pure: no I/O, no time.

use super::config::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use super::fault::Fault;

/// Where the tracker stands in the stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    /// Bytes left of a body with a length.
    Fixed(u64),
    ChunkSize(ChunkLine),
    ChunkData(u64),
    ChunkDataCr,
    ChunkDataLf,
    Trailers(TrailerLine),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ChunkLine {
    size: u64,
    digits: u8,
    extension: u16,
    cr: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TrailerLine {
    total: u16,
    length: u16,
    cr: bool,
}

/// What a look at the bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// So many bytes from the start may go on to the parser.
    pub pass: usize,
    pub then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// All may pass.
    More,
    /// The rest is an unfinished head: show it again, from its start, with what comes next.
    Hold,
    /// The head that starts after `pass` is refused.
    Refuse(Fault),
    /// A body that already began to pass is malformed.
    Break(Fault),
}

/// Follows one connection. Knows where a head starts because it follows the framing of every body before it.
#[derive(Debug)]
pub(super) struct Tracker {
    phase: Phase,
    heads: u64,
    /// In an unfinished head: where its last, unfinished line starts.
    line: usize,
}

impl Tracker {
    pub const fn new() -> Self {
        Self { phase: Phase::Head, heads: 0, line: 0 }
    }

    /// Heads that have passed.
    pub const fn heads(&self) -> u64 {
        self.heads
    }

    /// True while the client owes bytes of a body.
    pub const fn in_body(&self) -> bool {
        !matches!(self.phase, Phase::Head)
    }

    /// `bytes` starts with what was last held, if anything was.
    pub fn look(&mut self, bytes: &[u8]) -> Look {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Look { pass: at, then: Then::More };
            }
            if self.phase == Phase::Head {
                match self.head(rest) {
                    Ok(Some(length)) => at += length,
                    Ok(None) => return Look { pass: at, then: Then::Hold },
                    Err(fault) => return Look { pass: at, then: Then::Refuse(fault) },
                }
            } else {
                match self.body(rest) {
                    Ok(length) => at += length,
                    Err(fault) => return Look { pass: at, then: Then::Break(fault) },
                }
            }
        }
    }

    /// Length of the head that `bytes` starts with, `None` if it is not whole yet.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        loop {
            let open = bytes.get(self.line..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', open) else {
                return (bytes.len() <= HEAD_BYTES_MAX).then_some(None).ok_or(Fault::HeadTooLarge);
            };
            let end = self.line + length + 1;
            if end > HEAD_BYTES_MAX {
                return Err(Fault::HeadTooLarge);
            }
            match length.checked_sub(1).and_then(|last| open.get(last)) {
                Some(b'\r') => {}
                _ => return Err(Fault::BareLf),
            }
            if length == 1 {
                let head = bytes.get(..self.line).unwrap_or_default();
                self.phase = check(head)?;
                self.heads += 1;
                self.line = 0;
                return Ok(Some(end));
            }
            self.line = end;
        }
    }

    /// Bytes of the body that `bytes` starts with; at least one.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match self.phase {
            Phase::Fixed(left) => {
                let (taken, left) = take(left, bytes.len());
                self.phase = if left == 0 { Phase::Head } else { Phase::Fixed(left) };
                Ok(taken)
            }
            Phase::ChunkData(left) => {
                let (taken, left) = take(left, bytes.len());
                self.phase = if left == 0 { Phase::ChunkDataCr } else { Phase::ChunkData(left) };
                Ok(taken)
            }
            phase => {
                let byte = bytes.first().copied().unwrap_or_default();
                self.phase = match phase {
                    Phase::ChunkDataCr if byte == b'\r' => Phase::ChunkDataLf,
                    Phase::ChunkDataLf if byte == b'\n' => Phase::ChunkSize(ChunkLine::default()),
                    Phase::ChunkSize(line) => chunk_size(line, byte)?,
                    Phase::Trailers(line) => trailer(line, byte)?,
                    _ => return Err(Fault::Chunk),
                };
                Ok(1)
            }
        }
    }
}

fn take(left: u64, there: usize) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(there, |left| left.min(there));
    (taken, left - taken as u64)
}

/// One byte of `size [; extension] CRLF` (RFC 9112, section 7.1).
fn chunk_size(mut line: ChunkLine, byte: u8) -> Result<Phase, Fault> {
    match byte {
        b'\n' if line.cr && line.digits > 0 => {
            return Ok(match line.size {
                0 => Phase::Trailers(TrailerLine::default()),
                size => Phase::ChunkData(size),
            });
        }
        _ if line.cr => return Err(Fault::Chunk),
        b'\r' => line.cr = true,
        b';' if line.extension == 0 && line.digits > 0 => line.extension = 1,
        b' '..=b'~' | b'\t' if (1..CHUNK_EXTENSION_MAX).contains(&line.extension) => {
            line.extension += 1;
        }
        _ if line.extension == 0 && line.digits < CHUNK_DIGITS_MAX => {
            let digit = char::from(byte).to_digit(16).ok_or(Fault::Chunk)?;
            line.size = line.size * 16 + u64::from(digit);
            line.digits += 1;
        }
        _ => return Err(Fault::Chunk),
    }
    Ok(Phase::ChunkSize(line))
}

/// One byte of the trailer section: lines up to an empty one.
fn trailer(mut line: TrailerLine, byte: u8) -> Result<Phase, Fault> {
    line.total += 1;
    match byte {
        _ if line.total > TRAILER_BYTES_MAX => return Err(Fault::Chunk),
        b'\n' if line.cr && line.length == 0 => return Ok(Phase::Head),
        b'\n' if line.cr => line = TrailerLine { total: line.total, ..TrailerLine::default() },
        b'\n' => return Err(Fault::Chunk),
        _ if line.cr => return Err(Fault::Chunk),
        b'\r' => line.cr = true,
        _ => line.length += 1,
    }
    Ok(Phase::Trailers(line))
}

/// A whole head without its empty line: how its body is framed, or why it is refused.
fn check(head: &[u8]) -> Result<Phase, Fault> {
    let mut lines = lines(head);
    let http_11 = request_line(lines.next().unwrap_or_default())?;
    let mut length = None;
    let (mut chunked, mut host) = (false, false);
    let mut fields = 0;
    for line in lines {
        fields += 1;
        if fields > HEAD_FIELDS_MAX {
            return Err(Fault::TooManyFields);
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(content_length(value)?).is_some() {
                return Err(Fault::LengthRepeated);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !http_11 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::EncodingRefused);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") && std::mem::replace(&mut host, true) {
            return Err(Fault::HostRepeated);
        }
    }
    let body = match (length, chunked) {
        (Some(_), true) => return Err(Fault::LengthWithEncoding),
        (None, true) => Phase::ChunkSize(ChunkLine::default()),
        (None | Some(0), false) => Phase::Head,
        (Some(length), false) => Phase::Fixed(length),
    };
    // HTTP/1.0 knows no Host (RFC 9112, section 3.2).
    (host || !http_11).then_some(body).ok_or(Fault::HostMissing)
}

/// The lines of a head, each without its end.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    memchr::memchr_iter(b'\n', head).map(move |end| {
        let line = head.get(from..end).unwrap_or_default();
        from = end + 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// True for HTTP/1.1, false for HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::RequestLine);
    }
    if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Fault::Target);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Fault::Version),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Fault::ObsoleteFold);
    }
    let mut halves = line.splitn(2, |byte| *byte == b':');
    let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
        return Err(Fault::FieldName);
    };
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::FieldName);
    }
    if has_control(value) {
        return Err(Fault::ControlByte);
    }
    Ok((name, value.trim_ascii()))
}

/// Whether a byte of a field's value is a control character other than a tab. Without a way out before the end, so that it is
/// done many bytes at a time: receipts and leaves are kilobytes.
fn has_control(value: &[u8]) -> bool {
    let odd = |byte: &u8| matches!(byte, 0..=0x08 | 0x0a..=0x1f | 0x7f);
    value.iter().fold(false, |any, byte| any | odd(byte))
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let plain = !value.is_empty()
        && value.len() <= LENGTH_DIGITS_MAX
        && value.iter().all(u8::is_ascii_digit);
    if !plain {
        return Err(Fault::LengthInvalid);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `tchar` of RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// 10^18 - 1 bytes: any sum stays within 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;
/// 2^60 bytes: the size stays within 64 bits.
const CHUNK_DIGITS_MAX: u8 = 15;
const CHUNK_EXTENSION_MAX: u16 = 256;
const TRAILER_BYTES_MAX: u16 = 8 * 1_024;

#[cfg(test)]
mod tests;
