//! Strings and numbers of strict JSON, byte by byte.

use super::{Fault, JsonError};

/// Checks the string that begins after the quote at `start - 1`: where it ends (the closing quote), and whether it has
/// escapes. The bytes are known to be UTF-8.
pub fn string(bytes: &[u8], start: usize) -> Result<(usize, bool), JsonError> {
    let mut at = start;
    let mut escaped = false;
    loop {
        at = stop(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape(bytes, at)?;
            }
            Some(_) => return Err(JsonError { fault: Fault::Control, at }),
            None => return Err(JsonError { fault: Fault::Early, at }),
        }
    }
}

/// Checks the number at `start`: where it ends. RFC 8259 grammar, and finite as an IEEE 754 double.
pub fn number(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let fault = |at| JsonError { fault: Fault::Number, at };
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    let whole = at;
    at = digits(bytes, at);
    if at == whole || (bytes.get(whole) == Some(&b'0') && at > whole + 1) {
        return Err(fault(at));
    }
    if bytes.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits(bytes, fraction);
        if at == fraction {
            return Err(fault(at));
        }
    }
    let exponent = at;
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(bytes, exponent + 1 + sign);
        if at == exponent + 1 + sign {
            return Err(fault(at));
        }
    }
    let may_overflow = at > exponent || at - start > DIGITS_ALWAYS_FINITE;
    if may_overflow && !is_finite(bytes.get(start..at).unwrap_or_default()) {
        return Err(fault(start));
    }
    Ok(at)
}

/// The characters of a checked string.
pub fn decoded(raw: &str) -> impl Iterator<Item = char> {
    let mut chars = raw.chars();
    std::iter::from_fn(move || match chars.next()? {
        '\\' => match chars.next()? {
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => unicode(&mut chars),
            plain => Some(plain),
        },
        plain => Some(plain),
    })
}

/// The first byte at or after `at` that a string may not simply contain: quote, backslash or control.
/// Eight bytes at a time (the zero-byte test of Hacker's Delight, 6-1).
fn stop(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        if interrupts(u64::from_ne_bytes(*eight)) {
            break;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    at + rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len())
}

const fn interrupts(eight: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    let quote = eight ^ (ONES * b'"' as u64);
    let slash = eight ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let slash = slash.wrapping_sub(ONES) & !slash;
    (control | quote | slash) & HIGH != 0
}

/// Checks the escape whose backslash is at `at`: where the next character begins.
fn escape(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex(bytes, at + 2)? {
            0xd800..=0xdbff => second_half(bytes, at),
            0xdc00..=0xdfff => Err(JsonError { fault: Fault::Surrogate, at }),
            _ => Ok(at + 6),
        },
        Some(_) => Err(JsonError { fault: Fault::Escape, at }),
        None => Err(JsonError { fault: Fault::Early, at }),
    }
}

fn second_half(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let alone = JsonError { fault: Fault::Surrogate, at };
    if bytes.get(at + 6..at + 8) != Some(b"\\u") {
        return Err(alone);
    }
    match hex(bytes, at + 8)? {
        0xdc00..=0xdfff => Ok(at + 12),
        _ => Err(alone),
    }
}

fn hex(bytes: &[u8], at: usize) -> Result<u32, JsonError> {
    let four = bytes.get(at..at + 4).ok_or(JsonError { fault: Fault::Early, at })?;
    four.iter().try_fold(0, |value, byte| {
        let digit = char::from(*byte).to_digit(16);
        digit.map(|digit| value * 16 + digit).ok_or(JsonError { fault: Fault::Escape, at })
    })
}

fn unicode(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let first = four(chars)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    let second = chars.nth(1).and_then(|_| four(chars))?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second.checked_sub(0xdc00)?)
}

fn four(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))
}

fn digits(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

fn is_finite(number: &[u8]) -> bool {
    std::str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .is_some_and(f64::is_finite)
}

/// The largest double is about 1.8e308: fewer than 300 digits without an exponent are always finite.
const DIGITS_ALWAYS_FINITE: usize = 300;
