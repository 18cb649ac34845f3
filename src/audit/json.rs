//! Canonical JSON by hand: values in, the bytes of docs/record.md out, without a tree in between.
//!
//! *Invariant:* no floats, no `null`, and (checked in debug builds) no key out of order.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// One object under way, written at the end of a buffer. The caller gives the keys in byte order.
pub(super) struct Object<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
    #[cfg(debug_assertions)]
    last: &'static str,
}

impl<'b> Object<'b> {
    pub fn open(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            empty: true,
            #[cfg(debug_assertions)]
            last: "",
        }
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    pub fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        text(self.out, value);
    }

    pub fn text_if(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        number(self.out, value);
    }

    /// Seconds, versions and the like; what is before zero is written as zero.
    pub fn signed(&mut self, key: &'static str, value: i64) {
        self.number(key, u64::try_from(value).unwrap_or(0));
    }

    /// Bytes as standard base64 with padding.
    pub fn bytes(&mut self, key: &'static str, value: &[u8]) {
        self.key(key);
        bytes(self.out, value);
    }

    pub fn bytes_if(&mut self, key: &'static str, value: Option<&[u8; 32]>) {
        if let Some(value) = value {
            self.bytes(key, value);
        }
    }

    /// A unit variant under its published name.
    pub fn name<T: serde::Serialize>(&mut self, key: &'static str, value: T) {
        self.key(key);
        // Writing a unit variant to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *self.out, &value);
    }

    pub fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let mut inner = Object::open(self.out);
        fill(&mut inner);
        inner.close();
    }

    /// An array; `each` writes one element at the end of the buffer.
    pub fn array<T>(
        &mut self,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Vec<u8>, T),
    ) {
        self.key(key);
        self.out.push(b'[');
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            each(self.out, item);
        }
        self.out.push(b']');
    }

    fn key(&mut self, key: &'static str) {
        #[cfg(debug_assertions)]
        {
            debug_assert!(self.last < key, "`{key}` after `{}`", self.last);
            self.last = key;
        }
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// A string with the escapes of RFC 8785 section 3.2.2.2.
pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    // All of it at once, which is several times faster than byte by byte: hardly any text has one to escape.
    let escapes = bytes.iter().fold(false, |any, byte| any | is_escaped(*byte));
    if escapes {
        escaped(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

const fn is_escaped(byte: u8) -> bool {
    matches!(byte, 0x00..0x20 | b'"' | b'\\')
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0x00..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        if short == 0 {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(hex(*byte).as_slice());
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
}

pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0_u8; 20];
    let mut rest = value.min(NUMBER_MAX);
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

pub(super) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + value.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The room is exactly what padded base64 needs.
        let _ = STANDARD.encode_slice(value, room);
    }
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

/// The largest integer that every JSON reader keeps: 2^53 - 1.
const NUMBER_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    //! The hand-written form is what `verdict::canonical` makes of the same value, for every character.

    use proptest::prelude::*;

    use super::*;

    fn written(value: &str, count: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.array("a", [value, value], text);
        object.number("n", count);
        object.text("t", value);
        object.close();
        out
    }

    fn is_canonical(bytes: &[u8]) -> bool {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        verdict::canonical(&value).unwrap() == bytes
    }

    #[test]
    fn every_control_character_is_escaped_as_rfc_8785_says() {
        let all: String = (0..=0x80_u8).map(char::from).collect();
        let bytes = written(&all, 0);
        assert!(is_canonical(&bytes));
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["t"], all);
    }

    proptest! {
        #[test]
        fn equals_the_canonical_form(value in any::<String>(), count in 0..=NUMBER_MAX) {
            let bytes = written(&value, count);
            prop_assert!(is_canonical(&bytes));
            let parsed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&parsed["t"], &value);
            prop_assert_eq!(&parsed["n"], count);
        }
    }
}
