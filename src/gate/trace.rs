//! W3C trace context (Level 1): taken over when it is well formed, begun when it is absent. The vendors' list (`tracestate`) ends
//! here, as the specification allows: half a kilobyte of the caller's choice would cross the border unrecorded.

use http::{HeaderMap, HeaderValue};

#[derive(Debug, Clone)]
pub struct Trace {
    /// 32 lower-case hex digits.
    pub id: String,
    /// 16 lower-case hex digits: this gateway's own span.
    span: String,
    sampled: bool,
}

impl Trace {
    pub fn from_head(head: &HeaderMap) -> Self {
        // One call into the kernel for both.
        let chance = random_hex::<24>();
        let (id, span) = chance.split_at(32);
        let span = span.to_owned();
        match head.get("traceparent").and_then(|value| value.to_str().ok()).and_then(parse) {
            Some((id, sampled)) => Self { id, span, sampled },
            None => Self { id: id.to_owned(), span, sampled: false },
        }
    }

    /// Adds the context to the headers that go to the site.
    pub fn inject(&self, mut headers: HeaderMap) -> HeaderMap {
        let flags = if self.sampled { "01" } else { "00" };
        let parent = format!("00-{}-{}-{flags}", self.id, self.span);
        if let Ok(parent) = HeaderValue::from_str(&parent) {
            headers.insert("traceparent", parent);
        }
        headers
    }
}

fn parse(text: &str) -> Option<(String, bool)> {
    let mut parts = text.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = version == "00"
        && parts.next().is_none()
        && is_id(id, 32)
        && is_id(parent, 16)
        && flags.len() == 2;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    well_formed.then(|| (id.to_owned(), flags & 1 == 1))
}

fn is_id(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && text.bytes().any(|byte| byte != b'0')
}

fn random_hex<const N: usize>() -> String {
    let mut bytes = [0_u8; N];
    // Not a secret: without a source of randomness the trace is only less useful.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_a_valid_parent_and_nothing_else() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(parse(&good), Some((id.to_owned(), true)));
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
