//! How long a decision's record must be kept: the longest floor of the regimes that it was judged under. Written into the record,
//! so that whoever purges later need not know the law of its day.
//!
//! Floors are reference material, unreviewed by counsel, as read in 2026-11.

/// A class of retention, by what sets its floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// As in the record.
    pub class: &'static str,
    /// The record is kept for at least so long, of 366 days each.
    pub years: u32,
}

impl Retention {
    /// The longest floor of these regimes.
    pub fn of<'a>(regimes: impl IntoIterator<Item = &'a str>) -> Self {
        let floors = regimes.into_iter().map(Self::floor);
        floors
            .fold(HOUSE, |longest, floor| if floor.years > longest.years { floor } else { longest })
    }

    fn floor(regime: &str) -> Self {
        FLOORS.into_iter().find(|(name, _)| *name == regime).map_or(HOUSE, |(_, floor)| floor)
    }

    /// Unix seconds until which a record of this instant is kept.
    #[must_use]
    pub fn until(self, at_ns: i64) -> i64 {
        at_ns.div_euclid(NS) + i64::from(self.years) * YEAR_S
    }
}

/// 28 CFR 202.1101(a): ten years. 45 CFR 164.316(b)(2)(i): six years.
const FLOORS: [(&str, Retention); 2] = [
    ("US.28CFR202", Retention { class: "us.28cfr202", years: 10 }),
    ("US.HIPAA", Retention { class: "us.hipaa", years: 6 }),
];
/// Our choice where no longer floor is known. It covers the access records of the Korean Standards of Measures to Ensure the
/// Safety of Personal Information, article 8 (one year, two for sensitive data), and the six months of Regulation (EU) 2024/1689,
/// articles 19 and 26(6).
const HOUSE: Retention = Retention { class: "house", years: 2 };
const NS: i64 = 1_000_000_000;
const YEAR_S: i64 = 366 * 86_400;

#[cfg(test)]
mod tests {
    //! The longest floor counts, whatever the order.

    use super::*;

    #[test]
    fn the_longest_floor_counts() {
        assert_eq!(Retention::of([]), HOUSE);
        assert_eq!(Retention::of(["KR.PIPA", "EU.GDPR"]).years, 2);
        for regimes in [["US.HIPAA", "US.28CFR202"], ["US.28CFR202", "US.HIPAA"]] {
            assert_eq!(Retention::of(regimes).class, "us.28cfr202");
        }
        assert_eq!(HOUSE.until(1_500_000_000), 1 + 2 * 366 * 86_400);
    }
}
