//! How many may be connected: so many in all, and of one network not more than its share.
//!
//! *Invariant:* a place is given back when its connection's task ends, however it ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::Limits;

/// The places of one listener. Locked to take one and to give it back, once each for a connection.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    share: usize,
    taken: Mutex<Taken>,
}

/// Of bounded size: a network stands here while it is connected.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_network: HashMap<Network, usize>,
}

/// Of one connection.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    network: Option<Network>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Network,
}

/// What one household or one office has: the prefix that audit and journals name too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u16; 3]),
}

impl Network {
    /// None for this machine, whose programs stand for many clients (a proxy) or are the operator's own.
    fn of(remote: IpAddr) -> Option<Self> {
        match remote.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Some(Self::V4([a, b, c]))
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                Some(Self::V6([a, b, c]))
            }
        }
    }
}

impl Places {
    /// `known`: whoever connects shows a certificate, so that one network's clients are as many as were let in.
    pub fn new(limits: &Limits, known: bool) -> Arc<Self> {
        let all = limits.connections;
        let share = if known { all } else { limits.network_share() };
        Arc::new(Self { all, share, taken: Mutex::default() })
    }

    pub fn take(self: &Arc<Self>, remote: IpAddr) -> Result<Place, Full> {
        let network = Network::of(remote);
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(Full::All);
        }
        if let Some(network) = network {
            let of_network = taken.by_network.entry(network).or_default();
            // At least one may be connected, so no entry stays at zero.
            if *of_network >= self.share {
                return Err(Full::Network);
            }
            *of_network += 1;
        }
        taken.all += 1;
        Ok(Place { places: Arc::clone(self), network })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        let Some(network) = self.network else { return };
        let left = taken.by_network.get(&network).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            taken.by_network.remove(&network);
        } else {
            taken.by_network.insert(network, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: usize, network_share_percent: u8) -> Arc<Places> {
        let limits = Limits { connections, network_share_percent, ..Limits::default() };
        Places::new(&limits, false)
    }

    fn full(places: &Arc<Places>, remote: &str) -> Option<Full> {
        places.take(remote.parse().unwrap()).err()
    }

    #[test]
    fn one_network_cannot_take_all_places() {
        let places = places(8, 50);
        let take = |remote: String| places.take(remote.parse().unwrap()).unwrap();
        let v4: Vec<Place> = (0..4).map(|host| take(format!("203.0.113.{host}"))).collect();
        assert_eq!(full(&places, "203.0.113.200"), Some(Full::Network));
        assert_eq!(full(&places, "::ffff:203.0.113.200"), Some(Full::Network), "the same one");
        let v6: Vec<Place> = (0..3).map(|net| take(format!("2001:db8:5:{net}::1"))).collect();
        let _other = take("203.0.114.1".to_owned());
        assert_eq!(full(&places, "198.51.100.1"), Some(Full::All));
        drop(v4);
        let _back: Vec<Place> = (0..4).map(|host| take(format!("203.0.113.{host}"))).collect();
        drop(v6);
        assert_eq!(full(&places, "203.0.113.9"), Some(Full::Network));
        assert_eq!(full(&places, "2001:db8:5:ffff::1"), None);
    }

    #[test]
    fn this_machine_and_what_is_told_to_have_no_share_may_take_all() {
        for (percent, remote) in [(1, "127.0.0.1"), (1, "::1"), (100, "203.0.113.7")] {
            let places = places(5, percent);
            let taken: Vec<Place> =
                (0..5).map(|_| places.take(remote.parse().unwrap()).unwrap()).collect();
            assert_eq!(full(&places, remote), Some(Full::All), "{remote}");
            drop(taken);
            assert!(places.taken().by_network.is_empty(), "nothing is left of who has gone");
        }
    }

    #[test]
    fn a_share_is_one_at_least() {
        let places = places(3, 1);
        let _one = places.take("203.0.113.7".parse().unwrap()).unwrap();
        assert_eq!(full(&places, "203.0.113.8"), Some(Full::Network));
    }
}
