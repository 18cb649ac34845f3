//! The body of `add-checkpoint`: an `old` line, proof lines, an empty line, a checkpoint.
//!
//! *Invariant:* pure; one way to read it, every other is malformed.

use tlog::Hash;

use super::refusal::Refusal;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Submission<'b> {
    /// Tree size that the log believes was cosigned last.
    pub old: u64,
    pub proof: Vec<Hash>,
    /// A signed note.
    pub note: &'b str,
}

impl<'b> Submission<'b> {
    pub fn read(body: &'b [u8]) -> Option<Self> {
        let body = std::str::from_utf8(body).ok()?;
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = decimal(lines.next()?.strip_prefix("old ")?)?;
        let proof = lines.map(str::parse).collect::<Result<Vec<Hash>, _>>().ok()?;
        (proof.len() <= PROOF_MAX).then_some(Self { old, proof, note })
    }

    /// Whether it is one of a checkpoint of size `new` that is said to follow what was cosigned last, where that is known.
    pub const fn follows(&self, known: Option<u64>, new: u64) -> Result<(), Refusal> {
        if self.old > new {
            return Err(Refusal::Backwards);
        }
        match known {
            Some(known) if known != self.old => Err(Refusal::Conflict(known)),
            _ => Ok(()),
        }
    }
}

/// ASCII digits without a leading zero.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// Set by the specification.
const PROOF_MAX: usize = 63;
/// A note of at most 160 KiB and a proof of 63 lines of 45 bytes.
pub(super) const BYTES_MAX: usize = 170 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=";

    #[test]
    fn sizes_are_answered_in_the_order_of_the_specification() {
        let submission = Submission { old: 8, proof: vec![], note: "" };
        for (known, new, answer) in [
            (Some(8), 8, Ok(())),
            (None, 9, Ok(())),
            (Some(7), 9, Err(Refusal::Conflict(7))),
            (Some(9), 9, Err(Refusal::Conflict(9))),
            (Some(7), 7, Err(Refusal::Backwards)),
            (None, 7, Err(Refusal::Backwards)),
        ] {
            assert_eq!(submission.follows(known, new), answer, "{known:?} -> {new}");
        }
    }

    #[test]
    fn a_body_is_read_in_one_way() {
        let body = format!("old 7\n{HASH}\n{HASH}\n\nexample.com/log\n9\n{HASH}\n\n— sig\n");
        let read = Submission::read(body.as_bytes()).unwrap();
        assert_eq!((read.old, read.proof.len()), (7, 2));
        assert!(read.note.starts_with("example.com/log\n9\n") && read.note.ends_with("— sig\n"));
        let first = Submission::read(b"old 0\n\nrest").unwrap();
        assert_eq!(first, Submission { old: 0, proof: vec![], note: "rest" });
        for bad in [
            "",
            "old 1",
            "old 1\n",
            "old 01\n\nx",
            "old +1\n\nx",
            "old  1\n\nx",
            "old -1\n\nx",
            "old 18446744073709551616\n\nx",
            "OLD 1\n\nx",
            "old 1\r\n\r\nx",
            "old 1\nnot base64\n\nx",
            "old 1\nAAAA\n\nx",
        ] {
            assert_eq!(Submission::read(bad.as_bytes()), None, "{bad:?}");
        }
        let long = format!("old 1\n{}\nx", format!("{HASH}\n").repeat(64));
        assert_eq!(Submission::read(long.as_bytes()), None);
        assert_eq!(Submission::read(b"old 1\n\n\xff"), None);
    }
}
