//! Cells of a page named in few words: lists of profiles, flows and destinations instead of every cell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use verdict::decision::Flow;
use verdict::question::Profile;

use super::Destination;
use crate::policy::rulebook::word;

/// Every cell with one of these profiles, flows and destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub profiles: BTreeSet<Profile>,
    pub flows: Vec<Flow>,
    /// By number of the page's destinations.
    pub destinations: BTreeSet<usize>,
}

/// One cell's place in a page: profile, flow, number of its destination.
pub(crate) type Spot = (Profile, Flow, usize);

/// Every spot of a page with so many destinations.
pub(crate) fn spots(destinations: usize) -> impl Iterator<Item = Spot> {
    let profiles = [Profile::Statutory, Profile::Sovereign];
    let cells = profiles.into_iter().flat_map(|profile| Flow::ALL.map(move |flow| (profile, flow)));
    cells.flat_map(move |(profile, flow)| (0..destinations).map(move |to| (profile, flow, to)))
}

/// The spots as scopes: each is in exactly one of them, and none holds another spot.
pub(crate) fn scopes<'a>(spots: impl Iterator<Item = &'a Spot>) -> Vec<Scope> {
    let mut places: BTreeMap<(Profile, usize), BTreeSet<usize>> = BTreeMap::new();
    for (profile, flow, place) in spots {
        places.entry((*profile, *flow as usize)).or_default().insert(*place);
    }
    let mut by_flow: BTreeMap<(BTreeSet<usize>, usize), BTreeSet<Profile>> = BTreeMap::new();
    for ((profile, flow), places) in places {
        by_flow.entry((places, flow)).or_default().insert(profile);
    }
    let mut lists: BTreeMap<(BTreeSet<usize>, BTreeSet<Profile>), BTreeSet<usize>> =
        BTreeMap::new();
    for ((places, flow), profiles) in by_flow {
        lists.entry((places, profiles)).or_default().insert(flow);
    }
    let named = |flows: &BTreeSet<usize>| {
        Flow::ALL.into_iter().filter(|flow| flows.contains(&(*flow as usize))).collect()
    };
    let scopes = lists.into_iter().map(|((destinations, profiles), flows)| Scope {
        profiles,
        flows: named(&flows),
        destinations,
    });
    scopes.collect()
}

impl Scope {
    pub(crate) fn has(&self, (profile, flow, place): &Spot) -> bool {
        self.profiles.contains(profile)
            && self.flows.contains(flow)
            && self.destinations.contains(place)
    }

    pub(crate) fn profiles(&self) -> String {
        if self.profiles.len() == ALL_PROFILES {
            return "both profiles".to_owned();
        }
        self.profiles.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn flows(&self) -> String {
        if self.flows.len() == Flow::ALL.len() {
            return "every flow".to_owned();
        }
        self.flows.iter().map(|flow| flow.name()).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn ends(&self, all: &[Destination]) -> String {
        if self.destinations.len() == all.len() {
            return "any place".to_owned();
        }
        let named = self.destinations.iter().filter_map(|number| all.get(*number));
        named.map(|it| format!("({})", it.label)).collect::<Vec<_>>().join(" ")
    }

    /// All three, as a line of text says them.
    pub(crate) fn words<'a>(&'a self, all: &'a [Destination]) -> impl fmt::Display + 'a {
        fmt::from_fn(move |out| {
            write!(out, "[{}; {}; to {}]", self.profiles(), self.flows(), self.ends(all))
        })
    }
}

const ALL_PROFILES: usize = 2;
