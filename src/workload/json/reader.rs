//! One pass over the bytes: grammar, limits and key checks, and the nodes in the order of the body.

use super::{DEPTH_MAX, Fault, JsonError, NODES_MAX, Node, Tag, fold, text};

/// The nodes of a document whose bytes are known to be UTF-8.
///
/// # Errors
/// The first fault, with its byte offset.
pub fn nodes(bytes: &[u8]) -> Result<Vec<Node>, JsonError> {
    let mut reader =
        Reader { bytes, at: 0, nodes: Vec::with_capacity(NODES_FIRST), keys: Vec::new() };
    reader.space();
    reader.value(0, true)?;
    reader.space();
    if reader.at != bytes.len() {
        return Err(reader.fault(Fault::Trailing));
    }
    Ok(reader.nodes)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Hashes of the folded keys of all open objects, innermost last.
    keys: Vec<u64>,
}

impl Reader<'_> {
    /// Reads one value. `keep` is false inside arrays, where scalars other than strings are only checked.
    fn value(&mut self, depth: usize, keep: bool) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => {
                let (start, end, escaped) = self.string()?;
                self.push(if escaped { Tag::EscapedString } else { Tag::String }, start, end)
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b't') => self.word(b"true", Tag::True, keep),
            Some(b'f') => self.word(b"false", Tag::False, keep),
            Some(b'n') => self.word(b"null", Tag::Null, keep),
            Some(b'-' | b'0'..=b'9') => self.number(keep),
            Some(_) => Err(self.fault(Fault::Syntax)),
            None => Err(self.fault(Fault::Early)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        let node = self.open(Tag::Object, depth)?;
        let outer = self.keys.len();
        let mut more = !self.take(b'}');
        while more {
            self.member(depth)?;
            more = self.more(b'}')?;
        }
        if fold::any_same(self.keys.get_mut(outer..).unwrap_or_default()) {
            return Err(self.fault(Fault::SameKeys));
        }
        self.keys.truncate(outer);
        self.close(node)
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        let node = self.open(Tag::Array, depth)?;
        let mut more = !self.take(b']');
        while more {
            self.value(depth + 1, false)?;
            more = self.more(b']')?;
        }
        self.close(node)
    }

    fn member(&mut self, depth: usize) -> Result<(), JsonError> {
        self.key()?;
        self.space();
        self.expect(b':')?;
        self.space();
        self.value(depth + 1, true)
    }

    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            let fault = if self.peek().is_none() { Fault::Early } else { Fault::Syntax };
            return Err(self.fault(fault));
        }
        let (start, end, escaped) = self.string()?;
        let raw = self.bytes.get(start..end).unwrap_or_default();
        self.keys.push(fold::hash(raw));
        self.push(if escaped { Tag::EscapedString } else { Tag::String }, start, end)
    }

    /// After a member or element: true at a comma, false at `end`.
    fn more(&mut self, end: u8) -> Result<bool, JsonError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => Err(self.fault(Fault::Syntax)),
            None => Err(self.fault(Fault::Early)),
        }
    }

    fn open(&mut self, tag: Tag, depth: usize) -> Result<usize, JsonError> {
        if depth >= DEPTH_MAX {
            return Err(self.fault(Fault::Depth));
        }
        let node = self.nodes.len();
        self.push(tag, self.at, self.at)?;
        self.at += 1;
        self.space();
        Ok(node)
    }

    fn close(&mut self, node: usize) -> Result<(), JsonError> {
        let (end, next) = (self.offset(self.at)?, self.offset(self.nodes.len())?);
        if let Some(node) = self.nodes.get_mut(node) {
            node.end = end;
            node.next = next;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(usize, usize, bool), JsonError> {
        let start = self.at + 1;
        let (end, escaped) = text::string(self.bytes, start)?;
        self.at = end + 1;
        Ok((start, end, escaped))
    }

    fn number(&mut self, keep: bool) -> Result<(), JsonError> {
        let start = self.at;
        self.at = text::number(self.bytes, start)?;
        if keep { self.push(Tag::Number, start, self.at) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8], tag: Tag, keep: bool) -> Result<(), JsonError> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        if !rest.starts_with(word) {
            let early = word.starts_with(rest);
            return Err(self.fault(if early { Fault::Early } else { Fault::Syntax }));
        }
        self.at += word.len();
        if keep { self.push(tag, start, self.at) } else { Ok(()) }
    }

    fn push(&mut self, tag: Tag, start: usize, end: usize) -> Result<(), JsonError> {
        if self.nodes.len() >= NODES_MAX {
            return Err(self.fault(Fault::TooMany));
        }
        let (start, end) = (self.offset(start)?, self.offset(end)?);
        let next = self.offset(self.nodes.len() + 1)?;
        self.nodes.push(Node { tag, start, end, next });
        Ok(())
    }

    fn offset(&self, at: usize) -> Result<u32, JsonError> {
        u32::try_from(at).map_err(|_| self.fault(Fault::TooMany))
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.fault(if self.peek().is_none() { Fault::Early } else { Fault::Syntax }))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self, fault: Fault) -> JsonError {
        JsonError { fault, at: self.at }
    }
}

/// A small chat request has about 30 nodes: 64 x 16 bytes = 1 KiB.
const NODES_FIRST: usize = 64;
