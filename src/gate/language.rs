//! In which of the two languages an answer is written: RFC 9110, section 12.5.4, with the basic filtering of RFC 4647.
//!
//! *Invariant:* a header that is absent, too long or cannot be read means English; it is never a reason to refuse.

use http::{HeaderMap, header};

/// Korean, if the caller prefers it to English. Every `Accept-Language` line counts as one list.
pub(super) fn wants_korean(head: &HeaderMap) -> bool {
    let lines = head.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<(&str, u16)> =
        lines.flat_map(|line| line.split(',')).take(RANGES_MAX).filter_map(range).collect();
    weight(&ranges, "ko") > weight(&ranges, "en")
}

/// How much the caller wants this language, in thousandths: the most specific range that names it or a kind of it decides
/// (`ko` before `*`), of equals the highest. 0 is "not acceptable", and so is what no range names.
fn weight(ranges: &[(&str, u16)], language: &str) -> u16 {
    let named = ranges.iter().filter(|(tag, _)| {
        let primary = tag.split('-').next().unwrap_or(tag);
        primary.eq_ignore_ascii_case(language)
    });
    let any = ranges.iter().filter(|(tag, _)| *tag == "*");
    let best = |weights: Vec<u16>| weights.into_iter().max();
    best(named.map(|(_, weight)| *weight).collect())
        .or_else(|| best(any.map(|(_, weight)| *weight).collect()))
        .unwrap_or(0)
}

/// `ko-KR;q=0.8` as the tag and its weight in thousandths. One that is malformed is left out.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let tag = parts.next().filter(|tag| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'*';
        !tag.is_empty() && tag.bytes().all(plain)
    })?;
    let weight = match parts.next() {
        None => WHOLE,
        Some(weight) => qvalue(weight)?,
    };
    parts.next().is_none().then_some((tag, weight))
}

/// `q=0.8`, with at most three decimals and nothing above one.
fn qvalue(text: &str) -> Option<u16> {
    let (name, value) = text.split_once('=')?;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !name.eq_ignore_ascii_case("q")
        || !matches!(whole, "0" | "1")
        || decimals.len() > 3
        || !digits
    {
        return None;
    }
    let weight: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (weight <= WHOLE).then_some(weight)
}

const WHOLE: u16 = 1_000;
/// Browsers send fewer than ten.
const RANGES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    //! Proves that the language is the one that the caller prefers, by the weights that it gave.

    use super::*;
    use http::HeaderValue;

    #[test]
    fn korean_only_where_it_is_preferred() {
        for (lines, korean) in [
            ("", false),
            ("ko", true),
            ("ko-KR", true),
            ("KO-kr", true),
            ("ko-Kore-KR", true),
            ("en", false),
            ("en, ko", false),
            ("ko, en", false),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", true),
            ("en-US,en;q=0.9,ko;q=0.8", false),
            ("ko;q=0.8, en;q=0.9", false),
            ("ko;q=0.9, en;q=0.8", true),
            ("ko;Q=0.9 , en ; q=0.8", true),
            ("ko;q=0", false),
            ("ko;q=0, *", false),
            ("*", false),
            ("*;q=0.5, ko", true),
            ("en;q=0, *", true),
            ("de, ko;q=0.1", true),
            ("fr, de", false),
            ("ko;q=0.001, en;q=0.000", true),
            ("ko;q=1.000, en;q=0.999", true),
            ("en;q=0.5\nko;q=0.6", true),
            // malformed: that range says nothing
            ("ko;q=2", false),
            ("ko;q=1.001", false),
            ("ko;q=0.9999", false),
            ("ko;q=-1", false),
            ("ko;q=", false),
            ("ko;level=1", false),
            ("ko;q=0.9;q=0.1", false),
            ("kok", false),
            ("k\u{3c}o", false),
            (",,ko,,", true),
        ] {
            let mut head = HeaderMap::new();
            for line in lines.lines() {
                head.append(header::ACCEPT_LANGUAGE, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(wants_korean(&head), korean, "{lines:?}");
        }
        let mut head = HeaderMap::new();
        head.append(header::ACCEPT_LANGUAGE, HeaderValue::from_bytes(b"ko, \xff").unwrap());
        assert!(!wants_korean(&head));
    }
}
