//! Numbers in a question: whole amounts that every reader keeps exactly, and shares in percent.
//!
//! *Invariant:* what is read is written again as the same number, so a digest does not depend on who wrote it.

use alloc::{format, string::ToString};
use core::fmt;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// Percent of the voting capital: 0 to 100, with at most four decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// In ten-thousandths of a percent.
    parts: u32,
}

impl Share {
    /// At least so many whole percent.
    #[must_use]
    pub fn at_least(self, percent: u8) -> bool {
        self.parts >= u32::from(percent) * PARTS
    }

    fn whole(percent: u64) -> Option<Self> {
        let percent = u32::try_from(percent).ok().filter(|percent| *percent <= PERCENT_MAX)?;
        Some(Self { parts: percent * PARTS })
    }

    /// By its decimal digits, not by arithmetic on a binary fraction: 24.9 is 24.9.
    fn fraction(percent: f64) -> Option<Self> {
        let text = percent.to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        if decimals.len() > DECIMALS {
            return None;
        }
        let parts: u32 = format!("{whole}{decimals:0<DECIMALS$}").parse().ok()?;
        (parts <= PERCENT_MAX * PARTS).then_some(Self { parts })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.parts / PARTS)?;
        match self.parts % PARTS {
            0 => Ok(()),
            rest => {
                let decimals = format!("{rest:0DECIMALS$}");
                write!(f, ".{}", decimals.trim_end_matches('0'))
            }
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        if self.parts.is_multiple_of(PARTS) {
            return writer.serialize_u32(self.parts / PARTS);
        }
        // its own digits are a number, so this cannot fail; and four decimals of at most 100 come back as written
        writer.serialize_f64(self.to_string().parse().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Percent;
        impl Visitor<'_> for Percent {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("percent from 0 to 100 with at most four decimals")
            }

            fn visit_u64<E: de::Error>(self, percent: u64) -> Result<Share, E> {
                let wrong = || E::invalid_value(de::Unexpected::Unsigned(percent), &self);
                Share::whole(percent).ok_or_else(wrong)
            }

            fn visit_f64<E: de::Error>(self, percent: f64) -> Result<Share, E> {
                let wrong = || E::invalid_value(de::Unexpected::Float(percent), &self);
                Share::fraction(percent).ok_or_else(wrong)
            }
        }
        reader.deserialize_any(Percent)
    }
}

/// An amount: a whole number that is exact for every reader of JSON (RFC 8259, 6). `120000.0` and `1.2e5` are whole.
pub(super) fn count<'de, D: Deserializer<'de>>(reader: D) -> Result<u64, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from 0 to {COUNT_MAX}")
        }

        fn visit_u64<E: de::Error>(self, amount: u64) -> Result<u64, E> {
            let wrong = || E::invalid_value(de::Unexpected::Unsigned(amount), &self);
            Some(amount).filter(|amount| *amount <= COUNT_MAX).ok_or_else(wrong)
        }

        fn visit_f64<E: de::Error>(self, amount: f64) -> Result<u64, E> {
            let wrong = || E::invalid_value(de::Unexpected::Float(amount), &self);
            let whole = amount.to_string().parse().ok();
            whole.filter(|amount| *amount <= COUNT_MAX).ok_or_else(wrong)
        }
    }
    reader.deserialize_any(Whole)
}

/// The same, where `null` says that nobody knows.
pub(super) fn maybe_count<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<u64>, D::Error> {
    struct Amount(u64);
    impl<'de> Deserialize<'de> for Amount {
        fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
            count(reader).map(Amount)
        }
    }
    Ok(Option::<Amount>::deserialize(reader)?.map(|amount| amount.0))
}

const PERCENT_MAX: u32 = 100;
const DECIMALS: usize = 4;
/// Parts of one percent: 10 to the power of [`DECIMALS`].
const PARTS: u32 = 10_000;
const COUNT_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    //! Proves that a number is read as it was written and as nothing near it.

    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_share_is_what_was_written() {
        for (text, again, quarter) in [
            ("25", "25", true),
            ("25.0", "25", true),
            ("24.9999", "24.9999", false),
            ("25.0001", "25.0001", true),
            ("24.9", "24.9", false),
            ("0", "0", false),
            ("0.0001", "0.0001", false),
            ("100", "100", true),
        ] {
            let share: Share = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&share).unwrap(), again);
            assert_eq!(share.to_string(), again);
            assert_eq!(share.at_least(25), quarter, "{text}");
        }
        for text in ["-1", "101", "100.0001", "24.99999", "\"25\"", "1e9", "true", "null", "[]"] {
            assert!(serde_json::from_str::<Share>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_amount_is_whole_and_exact() {
        let read = |text: &str| count(&mut serde_json::Deserializer::from_str(text)).ok();
        let amounts: Vec<_> =
            ["0", "120000", "120000.0", "1.2e5", "9007199254740991"].map(read).into();
        assert_eq!(amounts, [0, 120_000, 120_000, 120_000, COUNT_MAX].map(Some));
        for text in ["-1", "1.5", "9007199254740992", "1e16", "1e300", "\"1\"", "null"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
