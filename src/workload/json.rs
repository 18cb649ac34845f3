//! Strict JSON: the bytes of a body become a [`Document`] that borrows from them, or an error that says where.
//!
//! Stricter than RFC 8259 on purpose: whatever two readers could understand differently is refused. No byte order mark,
//! no duplicate key at any depth, no two keys of one object that are equal after case folding (Go's `encoding/json`
//! takes U+212A for `k`), no lone surrogate, no number that is not finite, depth at most [`DEPTH_MAX`].
//!
//! One pass, one allocation for the nodes: numbers, booleans and nulls inside arrays (token ids, embeddings) are
//! checked but not kept, so a body cannot make itself much larger in memory.
//!
//! *Invariant:* nothing here knows a protocol, and no error repeats a byte of the body.

use std::borrow::Cow;

mod fold;
mod text;

/// A strictly read document.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// One value of a document.
#[derive(Debug, Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    at: u32,
}

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub struct Key<'d>(Value<'d>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// Where and why a body is not strict JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}")]
pub struct JsonError {
    pub fault: Fault,
    pub at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not utf-8")]
    NotUtf8,
    #[error("a byte order mark")]
    ByteOrderMark,
    #[error("the body ends too early")]
    Early,
    #[error("not json")]
    Syntax,
    #[error("a control character in a string")]
    Control,
    #[error("an unknown escape in a string")]
    Escape,
    #[error("half of a surrogate pair")]
    Surrogate,
    #[error("a number that is not json or not finite")]
    Number,
    #[error("nesting is deeper than 64")]
    Depth,
    #[error("more values than are accepted")]
    TooMany,
    #[error("something follows the value")]
    Trailing,
    #[error("two keys of one object are the same, or the same but for case")]
    SameKeys,
}

impl Fault {
    /// True where the bytes are JSON to some readers, who would disagree about what they say.
    #[must_use]
    pub const fn is_ambiguous(self) -> bool {
        matches!(self, Self::ByteOrderMark | Self::SameKeys | Self::Surrogate)
    }
}

/// Reads one document.
///
/// # Errors
/// The first fault, with its byte offset.
pub fn read(bytes: &[u8]) -> Result<Document<'_>, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError { fault: Fault::NotUtf8, at: error.valid_up_to() })?;
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err(JsonError { fault: Fault::ByteOrderMark, at: 0 });
    }
    let mut reader =
        Reader { bytes, at: 0, nodes: Vec::with_capacity(NODES_FIRST), keys: Vec::new() };
    reader.space();
    reader.value(0, true)?;
    reader.space();
    if reader.at != bytes.len() {
        return Err(reader.fault(Fault::Trailing));
    }
    Ok(Document { text, nodes: reader.nodes })
}

impl<'a> Document<'a> {
    #[must_use]
    pub fn root(&'a self) -> Value<'a> {
        Value { document: self, at: 0 }
    }

    fn node(&self, at: u32) -> Node {
        self.nodes.get(at as usize).copied().unwrap_or(NOTHING)
    }
}

impl<'d> Value<'d> {
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.node().tag {
            Tag::Null => Kind::Null,
            Tag::False | Tag::True => Kind::Bool,
            Tag::Number => Kind::Number,
            Tag::String | Tag::EscapedString => Kind::String,
            Tag::Array => Kind::Array,
            Tag::Object => Kind::Object,
        }
    }

    #[must_use]
    pub fn is_null(self) -> bool {
        self.node().tag == Tag::Null
    }

    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.node().tag {
            Tag::True => Some(true),
            Tag::False => Some(false),
            _ => None,
        }
    }

    /// The string with its escapes decoded; borrowed where there are none.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'d, str>> {
        let node = self.node();
        let raw = self.raw();
        match node.tag {
            Tag::String => Some(Cow::Borrowed(raw)),
            Tag::EscapedString => Some(Cow::Owned(text::decoded(raw).collect())),
            _ => None,
        }
    }

    /// The value as it stands in the body; a string without its quotes.
    #[must_use]
    pub fn raw(self) -> &'d str {
        let node = self.node();
        self.document.text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// Keys and values of an object in the order of the body; empty for anything else.
    pub fn members(self) -> impl Iterator<Item = (Key<'d>, Value<'d>)> {
        let inside = if self.node().tag == Tag::Object { self.inside() } else { 0..0 };
        let mut at = inside.start;
        std::iter::from_fn(move || {
            (at < inside.end).then(|| {
                let key = Key(Value { document: self.document, at });
                let value = Value { document: self.document, at: at + 1 };
                at = value.node().next;
                (key, value)
            })
        })
    }

    /// Strings, arrays and objects of an array in the order of the body; empty for anything else.
    /// Numbers, booleans and nulls are not kept and do not appear.
    pub fn elements(self) -> impl Iterator<Item = Value<'d>> {
        let inside = if self.node().tag == Tag::Array { self.inside() } else { 0..0 };
        let mut at = inside.start;
        std::iter::from_fn(move || {
            (at < inside.end).then(|| {
                let value = Value { document: self.document, at };
                at = value.node().next;
                value
            })
        })
    }

    fn inside(self) -> std::ops::Range<u32> {
        self.at + 1..self.node().next
    }

    fn node(self) -> Node {
        self.document.node(self.at)
    }
}

impl<'d> Key<'d> {
    #[must_use]
    pub fn as_str(self) -> Cow<'d, str> {
        self.0.as_str().unwrap_or_default()
    }

    /// What a reader that folds case takes this key for, when that is not the key itself.
    #[must_use]
    pub fn folded(self) -> Option<String> {
        let raw = self.0.raw();
        if raw.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase() && byte != b'\\') {
            return None;
        }
        let text = self.as_str();
        let folded: String = fold::folded(text.chars()).collect();
        (folded != text).then_some(folded)
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    tag: Tag,
    /// Byte range in the body; of a string without its quotes.
    start: u32,
    end: u32,
    /// Index of the node after this one and all that is in it.
    next: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Null,
    False,
    True,
    Number,
    String,
    EscapedString,
    Array,
    Object,
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
        if !self.take(b'}') {
            loop {
                self.key()?;
                self.space();
                self.expect(b':')?;
                self.space();
                self.value(depth + 1, true)?;
                if !self.more(b'}')? {
                    break;
                }
            }
        }
        if fold::any_same(self.keys.get_mut(outer..).unwrap_or_default()) {
            return Err(self.fault(Fault::SameKeys));
        }
        self.keys.truncate(outer);
        self.close(node)
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        let node = self.open(Tag::Array, depth)?;
        if !self.take(b']') {
            loop {
                self.value(depth + 1, false)?;
                if !self.more(b']')? {
                    break;
                }
            }
        }
        self.close(node)
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

/// Objects and arrays inside each other. Common readers stop at 100 (Python's `json` at about 1,000, `serde_json` at 128).
pub const DEPTH_MAX: usize = 64;

/// Values and keys kept of one document: 2^18 x 16 bytes = 4 MiB. A conversation of 10,000 messages has about 60,000.
pub const NODES_MAX: usize = 1 << 18;

/// A small chat request has about 30 nodes: 64 x 16 bytes = 1 KiB.
const NODES_FIRST: usize = 64;

const NOTHING: Node = Node { tag: Tag::Null, start: 0, end: 0, next: u32::MAX };

#[cfg(test)]
mod tests;
