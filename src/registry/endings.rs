//! What of an organisation's runs out, and which orders touch it: for those who tell it.

use std::sync::Arc;

use verdict::question::{Component, Order};
use verdict::stamp::Stamp;

use super::Snapshot;
use super::entity::{Organisation, SiteEntry};

/// Something that an organisation relies on and that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Ground {
        id: String,
        kind: String,
        regime: String,
    },
    /// Of a site that the organisation's services may run at.
    Certificate {
        site: String,
        scheme: String,
    },
}

impl Snapshot {
    /// What this organisation relies on and that ends, with its last day or instant as written. What is suspended has ended
    /// already, for another reason.
    #[must_use]
    pub fn endings(&self, org: &str) -> Vec<(Ending, Stamp)> {
        let Some(organisation) = self.organisation(org) else { return Vec::new() };
        let grounds =
            self.grounds.values().filter(|entry| &*entry.org == org || &*entry.org == "*");
        let grounds = grounds.filter_map(|entry| {
            let (ground, text) =
                (&entry.ground, |text: &Option<String>| text.clone().unwrap_or_default());
            let until = ground.valid_until.clone().flatten().filter(|_| !ground.suspended)?;
            let (id, kind, regime) = (text(&ground.id), text(&ground.r#type), text(&ground.regime));
            Some((Ending::Ground { id, kind, regime }, until))
        });
        let sites = self.sites().filter(|site| serves(site, organisation));
        let certificates = sites.flat_map(|site| {
            site.facts.certificates.iter().filter_map(move |certificate| {
                let until = certificate.valid_until.clone().flatten()?;
                let scheme = certificate.scheme.clone().unwrap_or_default();
                Some((Ending::Certificate { site: site.id.to_string(), scheme }, until))
            })
        });
        grounds.chain(certificates).collect()
    }

    /// The orders that touch what this organisation has: its data, by regime and category, where the order names some. An
    /// order for certain places touches it wherever its sites are: groups of places are the rules' business.
    pub fn orders_touching(&self, org: &str) -> impl Iterator<Item = (&str, &Order)> {
        let components = self.organisation(org).map(|one| self.data_of(one)).unwrap_or_default();
        let touches = move |order: &Order| {
            let (about, named) = (&order.r#match, |list: &[String], of: &[String]| {
                list.is_empty() || list.iter().any(|word| word == "*" || of.contains(word))
            });
            about.org.as_deref().is_none_or(|other| other == org || other == "*")
                && components.iter().any(|component| {
                    named(&about.regimes, &component.regimes)
                        && named(&about.categories, &component.categories)
                })
        };
        let org_known = self.organisation(org).is_some();
        self.orders
            .iter()
            .filter(move |(_, order)| org_known && touches(order))
            .map(|(id, order)| (&**id, order))
    }

    fn data_of<'a>(&'a self, organisation: &'a Organisation) -> Vec<&'a Component> {
        let may_use = |users: &[Arc<str>]| {
            users.iter().any(|user| *user == organisation.id || &**user == "*")
        };
        let profiles = organisation.services.values().filter_map(|service| service.data.as_ref());
        let datasets = self.datasets.values().filter(|dataset| may_use(&dataset.use_by));
        profiles.chain(datasets.map(|dataset| &dataset.component)).collect()
    }
}

/// Whether a service of the organisation may run there.
fn serves(site: &SiteEntry, organisation: &Organisation) -> bool {
    let listed =
        |list: &Option<Vec<Arc<str>>>| list.as_ref().is_none_or(|list| list.contains(&site.id));
    listed(&organisation.sites)
        && organisation
            .services
            .values()
            .any(|service| site.serves.contains(&service.name) && listed(&service.sites))
}
