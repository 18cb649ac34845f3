//! How often something may be done: so many times at once, then once in so long. Eight bytes, and time is an argument.

/// What was done, as the instant at which all of it would be forgotten (unix nanoseconds).
#[derive(Debug)]
pub(super) struct Pace(i64);

impl Default for Pace {
    fn default() -> Self {
        Self(i64::MIN)
    }
}

impl Pace {
    /// Whether it may be done now; if so, it counts.
    pub fn take(&mut self, now_ns: i64) -> bool {
        let full = now_ns.saturating_add(BURST * EACH_NS);
        // A clock that was set back takes what was saved up, and nothing for longer than that.
        let taken = self.0.clamp(now_ns, full);
        let next = taken.saturating_add(EACH_NS);
        let may = next <= full;
        self.0 = if may { next } else { taken };
        may
    }
}

/// People who tidy up their entries are not kept waiting.
const BURST: i64 = 20;
/// From then on: with each change every gateway reads the facts anew, some ten milliseconds.
const EACH_NS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many in a row.
    fn burst(pace: &mut Pace, now_ns: i64) -> i64 {
        let mut count = 0;
        while pace.take(now_ns) {
            count += 1;
        }
        count
    }

    #[test]
    fn so_many_at_once_and_then_one_in_a_second() {
        let (mut pace, start) = (Pace::default(), 1_795_000_000 * EACH_NS);
        assert_eq!(burst(&mut pace, start), BURST);
        assert!(!pace.take(start + EACH_NS - 1));
        assert_eq!(burst(&mut pace, start + EACH_NS), 1);
        assert_eq!(burst(&mut pace, start + 4 * EACH_NS), 3);
        assert_eq!(burst(&mut pace, start + 3_600 * EACH_NS), BURST, "no more is saved up");
        assert_eq!(burst(&mut pace, start), 0, "set back");
        assert_eq!(burst(&mut pace, start + EACH_NS), 1, "and not for an hour");
    }
}
