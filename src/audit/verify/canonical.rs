//! The members of a leaf, read in one pass without a copy, and only if its bytes are canonical (docs/record.md, "Bytes").
//!
//! *Invariant:* what is given here is in canonical form. What is not given may be so too, in ways that leaves of ours are
//! not: that is asked of the slow reader.

/// A member's value as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A string without an escape, without its quotes.
    Text(&'a [u8]),
    Number(u64),
    /// A string with escapes, an array, an object or `true`.
    Other,
}

/// Gives each member of the object; `None` when the bytes are not a canonical object.
pub(super) fn members<'a>(
    bytes: &'a [u8],
    mut member: impl FnMut(&'a [u8], Value<'a>),
) -> Option<()> {
    let ascii = bytes.is_ascii();
    if !ascii {
        std::str::from_utf8(bytes).ok()?;
    }
    let mut reader = Reader { rest: bytes, ascii };
    reader.object(0, &mut member)?;
    reader.rest.is_empty().then_some(())
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Nothing in it is not ASCII: no key need be asked.
    ascii: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u8) -> Option<Value<'a>> {
        match self.rest.first()? {
            b'"' => self.text(),
            b'0'..=b'9' => self.number().map(Value::Number),
            b'{' => self.object(depth + 1, &mut |_, _| {}).map(|()| Value::Other),
            b'[' => self.array(depth + 1).map(|()| Value::Other),
            b't' => {
                self.rest = self.rest.strip_prefix(b"true")?;
                Some(Value::Other)
            }
            _ => None,
        }
    }

    /// Keys rise, by byte.
    fn object(&mut self, depth: u8, member: &mut dyn FnMut(&'a [u8], Value<'a>)) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.byte(b'{')?;
        if self.byte(b'}').is_some() {
            return Some(());
        }
        let mut last: Option<&[u8]> = None;
        loop {
            let Value::Text(key) = self.text()? else { return None };
            if last.is_some_and(|last| !rises(last, key)) || !(self.ascii || key.is_ascii()) {
                return None;
            }
            last = Some(key);
            self.byte(b':')?;
            let value = self.value(depth)?;
            member(key, value);
            if self.byte(b',').is_none() {
                return self.byte(b'}');
            }
        }
    }

    fn array(&mut self, depth: u8) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.byte(b'[')?;
        if self.byte(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.byte(b',').is_none() {
                return self.byte(b']');
            }
        }
    }

    fn text(&mut self) -> Option<Value<'a>> {
        self.byte(b'"')?;
        let start = self.rest;
        let (text, rest) = start.split_at_checked(plain(start))?;
        self.rest = rest;
        if self.byte(b'"').is_some() {
            return Some(Value::Text(text));
        }
        self.escaped()?;
        Some(Value::Other)
    }

    /// The rest of a string, from its first backslash on.
    fn escaped(&mut self) -> Option<()> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match first {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ if *first < b' ' => return None,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        match kind {
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = self.rest.split_at_checked(4)?;
                self.rest = rest;
                let [b'0', b'0', high @ (b'0' | b'1'), low @ (b'0'..=b'9' | b'a'..=b'f')] = digits
                else {
                    return None;
                };
                // Those that have an escape of their own are never written so.
                let short = *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
                (!short).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        if length > DIGITS_MAX || (length > 1 && digits.first() == Some(&b'0')) {
            return None;
        }
        let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        (number <= NUMBER_MAX).then_some(number)
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == wanted).then(|| self.rest = rest)
    }
}

/// Whether keys stand in this order, by byte; most differ in the first.
fn rises(one: &[u8], next: &[u8]) -> bool {
    match (one.first(), next.first()) {
        (Some(one), Some(next)) if one != next => one < next,
        _ => one < next,
    }
}

/// How many bytes of a string stand for themselves: up to its quote, a backslash, or a control character. Eight at a time: a
/// byte's high bit is set where it is what is looked for, and the lowest such bit is exact ("Bit Twiddling Hacks", haszero, hasless).
fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found =
            below(word, 0x20) | below(word ^ (EACH * 0x22), 1) | below(word ^ (EACH * 0x5c), 1);
        if found != 0 {
            return at * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let special = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// The high bits of those bytes of a word that are smaller than `limit`, at most 128; exact up to the first.
const fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(EACH * limit) & !word & (EACH * 0x80)
}

/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Leaves are four deep; the slow reader goes to 128.
const DEPTH_MAX: u8 = 32;
/// 2^53 - 1, and how many digits it has.
const NUMBER_MAX: u64 = (1 << 53) - 1;
const DIGITS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    //! Held against the writer of canonical JSON: whatever it writes is read, whatever is read it would have written.

    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    use super::*;

    fn reads(bytes: &[u8]) -> bool {
        members(bytes, |_, _| {}).is_some()
    }

    fn is_canonical(bytes: &[u8]) -> bool {
        let value = serde_json::from_slice::<Json>(bytes).ok();
        value.and_then(|value| verdict::canonical(&value).ok()).is_some_and(|form| form == bytes)
    }

    fn leaf() -> impl Strategy<Value = Json> {
        let text = prop_oneof![
            "[a-z]{0,12}",
            ".{0,8}",
            prop::collection::vec(0_u8..0x30, 0..6)
                .prop_map(|bytes| String::from_utf8(bytes).unwrap()),
        ];
        let plain = prop_oneof![
            text.prop_map(Json::from),
            (0..=NUMBER_MAX).prop_map(Json::from),
            Just(Json::Bool(true)),
        ];
        plain.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::btree_map("[a-z_]{1,6}", inner, 0..5)
                    .prop_map(|all| Json::Object(all.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(value in prop::collection::btree_map("[a-z_]{1,6}", leaf(), 0..8)) {
            let value = Json::Object(value.into_iter().collect());
            prop_assert!(reads(&verdict::canonical(&value).unwrap()));
        }

        #[test]
        fn whatever_is_read_would_have_been_written(
            value in prop::collection::btree_map("[a-z_]{1,6}", leaf(), 0..8),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..3),
        ) {
            let mut bytes = verdict::canonical(&Json::Object(value.into_iter().collect())).unwrap();
            for (at, byte, how) in changes {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, b"{}[]\",:\\0 1tu"[usize::from(byte) % 13]),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    bytes.push(byte);
                }
            }
            prop_assert!(!reads(&bytes) || is_canonical(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    proptest! {
        #[test]
        fn eight_at_a_time_is_as_one_by_one(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), 0x1e_u8..0x24, 0x5b_u8..0x5e, 0x7f_u8..0x82], 0..40),
        ) {
            let special = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
            let slow = bytes.iter().position(special).unwrap_or(bytes.len());
            prop_assert_eq!(plain(&bytes), slow);
        }
    }

    #[test]
    fn what_is_not_canonical_is_not_read() {
        for text in [
            "",
            "{",
            "[]",
            "1",
            r#"{"a":1,"a":2}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":01}"#,
            r#"{"a":-1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":null}"#,
            r#"{"a":false}"#,
            r#"{ "a":1}"#,
            r#"{"a":1} "#,
            r#"{"a":"\u000a"}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\u001F"}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"#,
        ] {
            assert!(!reads(text.as_bytes()), "{text}");
        }
        let mut seen = Vec::new();
        let text = r#"{"a":[{"x":"\u0001\n\""},true],"b":9007199254740991,"c":"한"}"#;
        members(text.as_bytes(), |key, value| seen.push((key, value))).unwrap();
        let expected: [(&[u8], Value<'_>); 3] = [
            (b"a", Value::Other),
            (b"b", Value::Number(NUMBER_MAX)),
            (b"c", Value::Text("한".as_bytes())),
        ];
        assert_eq!(seen, expected);
        assert!(is_canonical(text.as_bytes()) && json!({}).is_object());
    }
}
