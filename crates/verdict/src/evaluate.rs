//! When each predicate of [`crate::atom`] is true, false or unknown, one small function each.

use alloc::{format, string::String};

use crate::{
    area,
    atom::{Area, Atom, PartyTest, Test, Who},
    cell::Truth,
    finding::Finding,
    flow::{Both, Leg},
    place,
    question::{
        Accelerator, Certificate, Component, Identifiability, Parent, Party, Question, Role, Site,
        TeeVerdict,
    },
    release::Released,
    rule::{Limits, Mode, Rulebook},
    stamp::Stamp,
};

/// What is judged: one question at one site at one instant (Unix seconds).
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub rulebook: &'a Rulebook,
    pub question: &'a Question,
    pub site: &'a Site,
    pub at: i64,
}

/// One cell with all its facts: what predicates look at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub view: View<'a>,
    pub subject: &'a Party,
    /// The subject and who receives, where they are one and the facts about it differ.
    pub both: Option<&'a Both>,
    pub released: &'a Released<'a>,
    /// Position in the question, for paths.
    pub number: usize,
    pub component: &'a Component,
    pub regime: &'a str,
    pub leg: &'a Leg<'a>,
}

impl<'a> Scene<'a> {
    pub(crate) fn evaluate(&self, atom: &Atom) -> Finding {
        let (component, site) = (self.component, self.view.site);
        let purpose = &self.view.question.purpose;
        match &atom.test {
            Test::To(area) => self.inside(area, self.leg.to, || self.leg.to_path.clone()),
            Test::Category(category) => Finding::known(self.has_category(category)),
            Test::CategoryIn(set) => Finding::known(self.has_any_of(set)),
            Test::ClassAtLeast(class) => {
                Finding::compare(component.class, |own| own >= *class, || self.own("class"))
            }
            Test::Encrypted => Finding::known(component.encrypted),
            Test::Stored => Finding::known(component.stored),
            Test::StateFunded => Finding::known(component.state_funded),
            Test::Identifiability(wanted) => self.identifiability(|own| own == *wanted),
            Test::Workload(wanted) => Finding::compare(
                purpose.workload,
                |own| own == *wanted,
                || "purpose.workload".into(),
            ),
            Test::Role(wanted) => self.role(|own| own == *wanted),
            Test::OriginsUnlisted => self.origins_unlisted(),
            Test::Recurring => Finding::known(purpose.recurring),
            Test::ThirdCountryOrder => Finding::known(purpose.third_country_order),
            Test::PurposeIn(set) => {
                let set = self.view.rulebook.book().vocabulary.purpose_sets.get(set);
                let listed = |code: &String| set.is_some_and(|set| set.contains(code));
                Finding::compare(purpose.code.as_ref(), listed, || "purpose.code".into())
            }
            Test::Party(who, test) => self.party(*who, test),
            Test::Certificate(scheme) => self.certificate(scheme),
            Test::TeeAffirming => self.tee(),
            Test::KeysInUse => {
                Finding::compare(site.keys.as_ref(), |keys| keys.in_use, || "site.keys".into())
            }
            Test::KeysIn(area) => {
                let place = site.keys.as_ref().and_then(|keys| keys.place.as_deref());
                self.inside(area, place, || "site.keys.place".into())
            }
            Test::KeysInOrigin => self.keys_in_origin(),
            Test::KeysHolder(wanted) => Finding::compare(
                site.keys.as_ref().and_then(|keys| keys.holder),
                |own| own == *wanted,
                || "site.keys.holder".into(),
            ),
            Test::Accelerator(eccn) => self.accelerator(eccn),
            Test::Order(kind) => self.order(*kind),
            Test::Listed(kind) => self.listed(*kind),
            Test::Volume(id) => self.volume(id),
            Test::Ground(kind, qualifier) => self.ground(kind, qualifier.as_ref()),
            Test::InForce(rule) => self.view.rulebook.rule(rule).map_or_else(
                || Finding::known(false),
                |rule| self.dated(rule.from.as_ref(), rule.until.as_ref()),
            ),
        }
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        &self.view.rulebook.book().limits
    }

    /// Path of a fact of the component.
    pub(crate) fn own(&self, key: &str) -> String {
        format!("components[{}].{key}", self.number)
    }

    pub(crate) fn dated(&self, from: Option<&Stamp>, until: Option<&Stamp>) -> Finding {
        Finding::between(self.view.at, from.map(Stamp::starts), until.map(Stamp::ends))
    }

    /// Is the place in the area? A place that is coarser than the area (a country against its province) is unknown.
    pub(crate) fn inside(
        &self,
        area: &Area,
        place: Option<&str>,
        path: impl FnOnce() -> String,
    ) -> Finding {
        let Some(place) = place else { return Finding::unknown(path()) };
        let mut path = Some(path);
        let mut path = || path.take().map(|path| path());
        area::inside(self.view.rulebook, self.view.at, self.regime, area, place, &mut path)
    }

    fn within(&self, area: &str, place: &str, path: &mut dyn FnMut() -> Option<String>) -> Finding {
        area::within(self.view.rulebook, self.view.at, area, place, path)
    }

    /// The component has the category or a narrower one.
    pub(crate) fn has_category(&self, category: &str) -> bool {
        self.component.categories.iter().any(|own| self.is_a(own, category))
    }

    /// The same; where the component only says a broader one, it is unknown whether it has this.
    pub(crate) fn may_have_category(&self, category: &str) -> Finding {
        let may = || self.component.categories.iter().any(|own| self.is_a(category, own));
        match self.has_category(category) {
            false if may() => Finding::unknown(self.own("categories")),
            has => Finding::known(has),
        }
    }

    fn has_any_of(&self, set: &str) -> bool {
        let set = self.view.rulebook.book().vocabulary.category_sets.get(set);
        set.is_some_and(|set| set.iter().any(|category| self.has_category(category)))
    }

    pub(crate) fn is_a(&self, category: &str, broader: &str) -> bool {
        self.view.rulebook.is_a(category, broader)
    }

    fn identifiability(&self, wanted: impl FnOnce(Identifiability) -> bool) -> Finding {
        Finding::compare(self.component.identifiability, wanted, || self.own("identifiability"))
    }

    pub(crate) fn role(&self, wanted: impl FnOnce(Role) -> bool) -> Finding {
        Finding::compare(self.leg.role, wanted, || self.leg.role_path.into())
    }

    /// Data keeps every origin it ever had. Where an origin's transfer regime is not listed, nobody has asked it, and it
    /// would have nothing to say at home only.
    fn origins_unlisted(&self) -> Finding {
        let rulebook = self.view.rulebook;
        let transfer = rulebook.book().regimes.iter().filter(|regime| {
            regime.mode == Mode::Transfer && !self.component.regimes.contains(&regime.id)
        });
        let origins = &self.component.origins;
        if self.component.regimes.is_empty() {
            // refused as unknown already
            return Finding::known(false);
        }
        let unlisted = transfer.filter_map(|regime| regime.territory.as_ref()).map(|territory| {
            let from = origins
                .iter()
                .map(|origin| self.within(territory, origin, &mut || Some(self.own("origins"))));
            Finding::any(from).and(|| self.leaves(territory))
        });
        let unlisted = Finding::any(unlisted);
        let about_persons =
            || self.component.categories.iter().any(|category| rulebook.is_personal(category));
        unlisted.and(|| {
            self.identifiability(|own| match own {
                Identifiability::Personal | Identifiability::Pseudonymised => true,
                Identifiability::NonPersonal => about_persons(),
                Identifiability::Anonymised | Identifiability::Synthetic => false,
            })
        })
    }

    fn leaves(&self, territory: &str) -> Finding {
        let to_path = &self.leg.to_path;
        let inside = |to| self.within(territory, to, &mut || Some(to_path.clone()));
        self.leg.to.map_or_else(|| Finding::unknown(to_path.clone()), |to| inside(to).not())
    }

    fn certificate(&self, scheme: &str) -> Finding {
        let certificates = self.view.site.certificates.iter().enumerate();
        Finding::any(certificates.map(|(number, certificate)| {
            let path = |key: &str| format!("site.certificates[{number}].{key}");
            let of_scheme = |own: &str| own == scheme;
            Finding::compare(certificate.scheme.as_deref(), of_scheme, || path("scheme"))
                .and(|| self.high_enough(certificate, path("grade")))
                .and(|| self.unended(certificate.valid_until.as_ref(), || path("valid_until")))
        }))
    }

    /// The certificate's grade is at least that of the subject's system.
    fn high_enough(&self, certificate: &Certificate, path: String) -> Finding {
        match self.view.question.subject.system_grade {
            None => Finding::unknown("subject.system_grade".into()),
            Some(needed) => Finding::compare(certificate.grade, |own| own >= needed, || path),
        }
    }

    fn tee(&self) -> Finding {
        let Some(tee) = &self.view.site.tee else { return Finding::unknown("site.tee".into()) };
        let age_s = self.limits().attestation_age_s;
        Finding::compare(
            tee.verdict,
            |own| own == TeeVerdict::Affirming,
            || "site.tee.verdict".into(),
        )
        .and(|| Finding::known(tee.nonce_ok))
        .and(|| Finding::fresh(self.view.at, tee.at.as_ref(), age_s, || "site.tee.at".into()))
    }

    /// For every origin: the keys are there, or in the territory of one of the component's regimes that it is in.
    fn keys_in_origin(&self) -> Finding {
        let place = self.view.site.keys.as_ref().and_then(|keys| keys.place.as_deref());
        let Some(place) = place else { return Finding::unknown("site.keys.place".into()) };
        if self.component.origins.is_empty() {
            return Finding::unknown(self.own("origins"));
        }
        let home = |area: &str, place: &str| self.within(area, place, &mut || None);
        let regimes = self.component.regimes.iter();
        let territories =
            regimes.filter_map(|regime| self.view.rulebook.regime(regime)?.territory.as_deref());
        Finding::all(self.component.origins.iter().map(|origin| {
            let there = Finding::known(place::covers(origin, place));
            let shared =
                territories.clone().map(|area| home(area, origin).and(|| home(area, place)));
            there.or(Finding::any(shared))
        }))
    }

    fn accelerator(&self, eccn: &str) -> Finding {
        let is_item = |own: &str| {
            own.strip_prefix(eccn).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let item = |(number, accelerator): (usize, &Accelerator)| {
            Finding::compare(accelerator.eccn.as_deref(), is_item, || {
                format!("site.accelerators[{number}].eccn")
            })
        };
        Finding::any(self.view.site.accelerators.iter().enumerate().map(item))
    }

    /// Where who receives is the subject and is described in another way, the test must come out the same by both; but
    /// what restricts the subject by its own description restricts it anyway.
    fn party(&self, who: Who, test: &PartyTest) -> Finding {
        let (party, path) = match who {
            Who::Subject => (Some(self.subject), "subject"),
            Who::Operator => (self.view.site.operator.as_ref(), "site.operator"),
            Who::Recipient => (self.leg.recipient.as_deref(), self.leg.recipient_path.as_str()),
        };
        let Some(party) = party else { return Finding::unknown(path.into()) };
        let found = self.passes(party, path, test);
        let (other, path) = match (who, self.both, &self.leg.otherwise) {
            (Who::Subject, Some(both), _) if found.truth == Truth::False => {
                (&both.recipient, "recipient")
            }
            (Who::Recipient, _, Some(subject)) => (subject, "subject"),
            _ => return found,
        };
        let otherwise = self.passes(other, path, test);
        if otherwise.truth == found.truth {
            return found.joined(otherwise);
        }
        let missing = self.both.map(|both| both.paths.clone()).unwrap_or_default();
        Finding { missing, truth: Truth::Unknown, ..found.joined(otherwise) }
    }

    fn passes(&self, party: &Party, path: &str, test: &PartyTest) -> Finding {
        let (exposure, control) = (self.limits().exposure_share, self.limits().control_share);
        match test {
            PartyTest::Sector(sector) => Finding::known(party.sectors.contains(sector)),
            PartyTest::SupervisedBy(by) => Finding::known(party.supervised_by.contains(by)),
            PartyTest::RegulatedUnder(law) => Finding::known(party.regulated_under.contains(law)),
            PartyTest::UsPerson => Finding::known(party.person.is_some()),
            PartyTest::Designated => Finding::known(party.designated),
            PartyTest::CriticalInfrastructure => Finding::known(party.critical_infrastructure),
            PartyTest::SignificantFiduciary => Finding::known(party.significant_fiduciary),
            PartyTest::Dpf => self.dpf(party, path),
            PartyTest::DpfHr => self
                .dpf(party, path)
                .and(|| Finding::known(party.dpf.as_ref().is_some_and(|listing| listing.hr))),
            PartyTest::Baa => self.baa(party, path),
            PartyTest::Seat(area) => {
                self.inside(area, party.seat.as_deref(), || format!("{path}.seat"))
            }
            PartyTest::Ultimate(area) => {
                chain(party, path, control, |place, path| self.inside(area, place, path))
            }
            PartyTest::Covered(area) => {
                Finding::known(party.designated)
                    .or(chain(party, path, control, |place, path| self.inside(area, place, path)))
            }
            PartyTest::Exposed(area) => chain(party, path, exposure, |place, path| {
                self.inside(area, place, path).and(|| Finding::known(self.is_foreign(place)))
            }),
            PartyTest::Outside(area) => {
                chain(party, path, exposure, |place, path| self.inside(area, place, path).not())
            }
        }
    }

    /// The law of this place is not the law of every origin of the data.
    fn is_foreign(&self, place: Option<&str>) -> bool {
        let origins = &self.component.origins;
        let own = |origin: &str| place.is_some_and(|place| place::meets(place, origin));
        origins.is_empty() || origins.iter().any(|origin| !own(origin))
    }

    fn dpf(&self, party: &Party, path: &str) -> Finding {
        let Some(listing) = &party.dpf else { return Finding::unknown(format!("{path}.dpf")) };
        self.unended(listing.active_until.as_ref(), || format!("{path}.dpf.active_until"))
    }

    /// The operator's own word, with which the grounds on record must agree.
    fn baa(&self, party: &Party, path: &str) -> Finding {
        let Some(baa) = &party.baa else { return Finding::unknown(format!("{path}.baa")) };
        self.unended(baa.valid_until.as_ref(), || format!("{path}.baa.valid_until"))
            .and(|| self.baa_records_agree(party, path))
    }
}

/// The seat, or the place of a parent with at least this share, passes the test.
fn chain(
    party: &Party,
    path: &str,
    share: u8,
    test: impl Fn(Option<&str>, &dyn Fn() -> String) -> Finding,
) -> Finding {
    let seat = test(party.seat.as_deref(), &|| format!("{path}.seat"));
    let parent = |(number, parent): (usize, &Parent)| {
        let path = |key: &str| format!("{path}.parents[{number}].{key}");
        Finding::compare(parent.share, |own| own.at_least(share), || path("share"))
            .and(|| test(parent.place.as_deref(), &|| path("place")))
    };
    seat.or(Finding::any(party.parents.iter().enumerate().map(parent)))
}
