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
mod reader;
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
    Ok(Document { text, nodes: reader::nodes(bytes)? })
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

/// Objects and arrays inside each other. Common readers stop at 100 (Python's `json` at about 1,000, `serde_json` at 128).
pub const DEPTH_MAX: usize = 64;

/// Values and keys kept of one document: 2^18 x 16 bytes = 4 MiB. A conversation of 10,000 messages has about 60,000.
pub const NODES_MAX: usize = 1 << 18;

const NOTHING: Node = Node { tag: Tag::Null, start: 0, end: 0, next: u32::MAX };

#[cfg(test)]
mod tests;
