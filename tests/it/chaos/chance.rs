//! Chance that can be repeated: `SplitMix64` (Steele, Lea, Flood 2014) from a seed that is printed.

pub struct Chance(u64);

impl Chance {
    /// From `HAETAE_CHAOS_SEED`, or from the system's randomness.
    pub fn seeded() -> Self {
        let seed = if let Ok(given) = std::env::var("HAETAE_CHAOS_SEED") {
            given.parse().expect("HAETAE_CHAOS_SEED is a number")
        } else {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        };
        println!("chaos: HAETAE_CHAOS_SEED={seed}");
        Self(seed)
    }

    /// Another one, for somebody who draws at their own pace.
    pub fn branch(&mut self) -> Self {
        Self(self.next())
    }

    /// Evenly from 0 up to and without `limit`; the bias of the remainder is below 2^-40 here.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let length = u64::try_from(from.len()).unwrap();
        &from[usize::try_from(self.below(length)).unwrap()]
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
