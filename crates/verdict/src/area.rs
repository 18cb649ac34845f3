//! Is a place in an area (a place, a dated group, or a regime's home)? The one answer for a flow, a party and a table.

use alloc::string::String;

use crate::{atom::Area, cell::Truth, finding::Finding, place, rule::Rulebook, stamp::Stamp};

impl Rulebook {
    /// Whether a flow under this regime that ends in `place` ends in `area` at the instant (Unix seconds). A place that is
    /// coarser than the area (a country against its province) is unknown.
    #[must_use]
    pub fn reaches(&self, regime: &str, area: &Area, place: &str, at: i64) -> Truth {
        inside(self, at, regime, area, place, &mut || None).truth
    }

    /// The category is the other one, or narrower.
    #[must_use]
    pub fn is_a(&self, category: &str, broader: &str) -> bool {
        self.broader(category).any(|category| category == broader)
    }
}

/// `area` may be relative to the regime's territory; `path` names the place when it is too coarse to tell.
pub(crate) fn inside(
    rulebook: &Rulebook,
    at: i64,
    regime: &str,
    area: &Area,
    place: &str,
    path: &mut dyn FnMut() -> Option<String>,
) -> Finding {
    let territory = rulebook.regime(regime).and_then(|regime| regime.territory.as_deref());
    match (area, territory) {
        (Area::Named(name), _) => within(rulebook, at, name, place, path),
        (Area::Home, Some(territory)) => within(rulebook, at, territory, place, path),
        (Area::Abroad, Some(territory)) => within(rulebook, at, territory, place, path).not(),
        (Area::Home | Area::Abroad, None) => Finding::known(false),
    }
}

/// The same for an area by its name.
pub(crate) fn within(
    rulebook: &Rulebook,
    at: i64,
    area: &str,
    place: &str,
    path: &mut dyn FnMut() -> Option<String>,
) -> Finding {
    let mut member = |member: &str| {
        if place::covers(member, place) {
            Finding::known(true)
        } else if place::covers(place, member) {
            Finding { missing: path().into_iter().collect(), ..Finding::unknown(String::new()) }
        } else {
            Finding::known(false)
        }
    };
    if place::is_place(area) {
        return member(area);
    }
    Finding::any(rulebook.group(area).map(|group| {
        let (from, until) = (group.from.as_ref(), group.until.as_ref());
        Finding::any(group.places.iter().map(|place| member(place)))
            .and(|| Finding::between(at, from.map(Stamp::starts), until.map(Stamp::ends)))
    }))
}
