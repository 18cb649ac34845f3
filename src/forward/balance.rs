//! Which of the permitted sites: power of two choices (Mitzenmacher 2001) by requests in flight, among the healthy.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::site::{SiteState, Sites};

/// The site to use, or none when none of them is healthy.
pub fn choose(sites: &Sites, permitted: &[Arc<str>]) -> Option<Arc<str>> {
    let now = Instant::now();
    let all = sites.all();
    let healthy: Vec<&Arc<SiteState>> =
        permitted.iter().filter_map(|id| all.get(id)).filter(|site| site.is_usable(now)).collect();
    let chance = if healthy.len() > 1 { sites.chance.next() } else { 0 };
    pick(&healthy, chance, |site| site.in_flight()).map(|site| Arc::clone(&site.site.id))
}

/// Two different ones by chance, then the less loaded of them.
fn pick<T>(among: &[T], chance: u64, load: impl Fn(&T) -> u64) -> Option<&T> {
    let count = among.len() as u64;
    let (high, low) = (chance >> 32, chance & u64::from(u32::MAX));
    let first = high.checked_rem(count)?;
    let second = low.checked_rem(count - 1).map_or(first, |step| (first + 1 + step) % count);
    let (one, other) = (at(among, first)?, at(among, second)?);
    Some(if load(other) < load(one) { other } else { one })
}

fn at<T>(among: &[T], index: u64) -> Option<&T> {
    among.get(usize::try_from(index).ok()?)
}

/// `SplitMix64` (Steele, Lea, Flood 2014) over a shared counter: not secret, only even.
pub struct Chance(AtomicU64);

impl Chance {
    pub fn new() -> Self {
        Self(AtomicU64::new(getrandom::u64().unwrap_or_default()))
    }

    fn next(&self) -> u64 {
        let mut word = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    //! Proves that two different sites are compared, and that chance reaches all of them.

    use super::*;

    #[test]
    fn the_less_loaded_of_two_is_picked() {
        let loads = [3_u64, 1];
        let chance = Chance(AtomicU64::new(1));
        for _ in 0..100 {
            assert_eq!(pick(&loads, chance.next(), |load| *load), Some(&1));
        }
        assert_eq!(pick(&[7_u64], chance.next(), |load| *load), Some(&7));
        assert_eq!(pick(&[] as &[u64], chance.next(), |load| *load), None);
    }

    #[test]
    fn equal_loads_are_shared_evenly() {
        let sites = [0_usize, 1, 2, 3];
        let chance = Chance(AtomicU64::new(1));
        let mut picked = [0_u32; 4];
        for _ in 0..4_000 {
            picked[*pick(&sites, chance.next(), |_| 0).unwrap()] += 1;
        }
        // The counter starts at a fixed place, so these counts are always the same.
        assert!(picked.iter().all(|count| (900..1_100).contains(count)), "{picked:?}");
    }

    #[test]
    fn the_most_loaded_of_many_is_never_picked() {
        let loads = [1_u64, 1, 9, 1];
        let chance = Chance(AtomicU64::new(1));
        for _ in 0..1_000 {
            assert_eq!(pick(&loads, chance.next(), |load| *load), Some(&1));
        }
    }
}
