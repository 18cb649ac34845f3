//! How notices are sent.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks that may be reached although they are private, of this machine, or not of the public internet.
    pub allow: Vec<IpNet>,
    /// PEM file: the authorities that receivers are verified against, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Connection, request and the head of the answer together.
    pub answer_ms: u64,
    /// Before the second attempt; each further pause is four times as long, up to six hours.
    pub retry_ms: u64,
    /// Then a notice is a dead letter.
    pub attempts_max: u32,
    /// How often is looked for notices that are due.
    pub look_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            ca: None,
            answer_ms: 10_000,
            retry_ms: 5_000,
            attempts_max: 16,
            look_ms: 1_000,
        }
    }
}

impl Config {
    /// The files it names.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.ca.iter_mut()
    }

    /// Longer than an attempt can take, so that a replica that is alive keeps what it claimed.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.answer_ms.saturating_mul(2)) + Duration::from_secs(1)
    }

    /// Before the next attempt, when `attempts` failed; a fifth more or less by chance, so that many do not come at once.
    pub(super) fn pause(&self, attempts: u32, chance: [u8; 2]) -> Duration {
        let doublings = attempts.saturating_sub(1).saturating_mul(2).min(62);
        let whole = self.retry_ms.saturating_mul(1 << doublings).min(PAUSE_MAX_MS);
        let percent = 80 + u64::from(u16::from_be_bytes(chance)) * 40 / u64::from(u16::MAX);
        Duration::from_millis(whole.saturating_mul(percent) / 100)
    }
}

/// With the defaults: 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 5.7 h, then 6 h eight times: 16 attempts span 55 h, a
/// weekend.
const PAUSE_MAX_MS: u64 = 6 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_fourfold_to_six_hours_and_differ_by_chance() {
        let config = Config::default();
        let middle = [0x7f, 0xff];
        let pauses: Vec<u64> =
            (1..=16).map(|attempt| config.pause(attempt, middle).as_secs()).collect();
        assert_eq!(&pauses[..4], [4, 19, 79, 316]);
        assert!(pauses[7..].iter().all(|pause| (21_000..=21_600).contains(pause)));
        assert_eq!(config.pause(1, [0, 0]).as_millis(), 4_000);
        assert_eq!(config.pause(1, [0xff, 0xff]).as_millis(), 6_000);
        assert!(config.pause(u32::MAX, middle).as_secs() <= 26_000);
    }
}
