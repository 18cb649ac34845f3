//! The facts by which a row refused or held a cell, for whoever must mend or contest them: where each stands, what it
//! says, who says so and how old it is.
//!
//! *Invariant:* it explains and decides nothing; asked only of what is refused or held, so an allow costs nothing more.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use crate::{
    atom::{Area, Atom, PartyTest, Qualifier, Test, Who},
    cell::{Literal, RowId, Truth},
    decision::Fact,
    evaluate::Scene,
    explain,
    papers::assessed,
    question::{Ground, Party},
    rule::GroundType,
    stamp::Stamp,
};

impl Scene<'_> {
    /// The facts behind these literals, in the order of the question, each once.
    pub(crate) fn deciding(&self, literals: &[Literal]) -> Vec<Fact> {
        let atoms = literals.iter().filter_map(|literal| {
            Some((self.view.rulebook.atom(literal.symbol)?, literal.negated))
        });
        let mut facts: Vec<Fact> =
            atoms.flat_map(|(atom, negated)| self.behind(atom, negated)).collect();
        facts.sort_by(|a, b| (&a.path, &a.value).cmp(&(&b.path, &b.value)));
        facts.dedup();
        facts.truncate(FACTS_MAX);
        facts
    }

    /// Why none of these rows permits the cell: where it goes, and each ground that they ask for, is on file and does not
    /// carry it.
    pub(crate) fn without_ground(&self, rows: &[RowId]) -> Vec<Fact> {
        let mut facts = self.behind_place();
        let mut types: Vec<&str> = Vec::new();
        for (kind, _) in rows.iter().flat_map(|row| self.asked(*row)) {
            if !types.contains(&kind) {
                types.push(kind);
                facts.extend(self.dead_grounds(kind, rows));
            }
        }
        facts.truncate(FACTS_MAX);
        facts
    }

    /// The types of ground that a row asks for.
    fn asked(&self, row: RowId) -> impl Iterator<Item = (&str, Option<&Qualifier>)> {
        let rulebook = self.view.rulebook;
        let literals = rulebook.literals(row).iter().filter(|literal| !literal.negated);
        literals.filter_map(|literal| match &rulebook.atom(literal.symbol)?.test {
            Test::Ground(kind, qualifier) => Some((kind.as_str(), qualifier.as_ref())),
            _ => None,
        })
    }

    fn behind(&self, atom: &Atom, negated: bool) -> Vec<Fact> {
        let (component, site) = (self.component, self.view.site);
        let purpose = &self.view.question.purpose;
        let own = |key: &str, value: String| vec![plain(self.own(key), value)];
        let flag = |path: &str, set: bool| vec![plain(path.into(), set.to_string())];
        match &atom.test {
            Test::To(_) | Test::Listed(_) => self.behind_place(),
            Test::Category(_) | Test::CategoryIn(_) => {
                own("categories", component.categories.join(", "))
            }
            Test::ClassAtLeast(_) => own("class", word(component.class)),
            Test::Encrypted => own("encrypted", component.encrypted.to_string()),
            Test::Stored => own("stored", component.stored.to_string()),
            Test::StateFunded => own("state_funded", component.state_funded.to_string()),
            Test::Identifiability(_) => own("identifiability", word(component.identifiability)),
            Test::OriginsUnlisted => own("origins", component.origins.join(", ")),
            Test::Workload(_) => vec![plain("purpose.workload".into(), word(purpose.workload))],
            Test::Role(_) => vec![plain(self.leg.role_path.into(), word(self.leg.role))],
            Test::Recurring => flag("purpose.recurring", purpose.recurring),
            Test::ThirdCountryOrder => {
                flag("purpose.third_country_order", purpose.third_country_order)
            }
            Test::PurposeIn(_) => {
                vec![plain("purpose.code".into(), purpose.code.clone().unwrap_or_default())]
            }
            Test::Party(who, test) => self.behind_party(*who, test),
            Test::Certificate(_) => vec![plain(
                "site.certificates".into(),
                listed(&site.certificates, |one| {
                    format!("{} {}", one.scheme.as_deref().unwrap_or_default(), word(one.grade))
                }),
            )],
            Test::TeeAffirming => site
                .tee
                .iter()
                .map(|tee| Fact {
                    since: tee.at.clone(),
                    ..plain("site.tee".into(), word(tee.verdict))
                })
                .collect(),
            Test::KeysInUse | Test::KeysIn(_) | Test::KeysInOrigin | Test::KeysHolder(_) => site
                .keys
                .iter()
                .map(|keys| {
                    let place = keys.place.as_deref().unwrap_or("?");
                    let used = if keys.in_use { ", in use" } else { "" };
                    plain("site.keys".into(), format!("{} in {place}{used}", word(keys.holder)))
                })
                .collect(),
            Test::Accelerator(_) => vec![plain(
                "site.accelerators".into(),
                listed(&site.accelerators, |one| one.eccn.clone().unwrap_or_default()),
            )],
            Test::Order(_) => self.behind_orders(atom),
            Test::Volume(_) => self.behind_volume(),
            Test::Ground(kind, _) if negated => self.dead_grounds(kind, &[]),
            Test::Ground(..) | Test::InForce(_) => Vec::new(),
        }
    }

    fn behind_place(&self) -> Vec<Fact> {
        vec![plain(self.leg.to_path.clone(), self.leg.to.unwrap_or("?").into())]
    }

    fn behind_party(&self, who: Who, test: &PartyTest) -> Vec<Fact> {
        let (party, path) = match who {
            Who::Subject => (Some(self.subject), "subject"),
            Who::Operator => (self.view.site.operator.as_ref(), "site.operator"),
            Who::Recipient => (self.leg.recipient.as_deref(), self.leg.recipient_path.as_str()),
        };
        let Some(party) = party else { return Vec::new() };
        let at = |key: &str, value: String| vec![plain(format!("{path}.{key}"), value)];
        match test {
            PartyTest::Sector(_) => at("sectors", party.sectors.join(", ")),
            PartyTest::SupervisedBy(_) => at("supervised_by", party.supervised_by.join(", ")),
            PartyTest::RegulatedUnder(_) => at("regulated_under", party.regulated_under.join(", ")),
            PartyTest::UsPerson => at("person", word(party.person)),
            PartyTest::Designated => at("designated", party.designated.to_string()),
            PartyTest::CriticalInfrastructure => {
                at("critical_infrastructure", party.critical_infrastructure.to_string())
            }
            PartyTest::SignificantFiduciary => {
                at("significant_fiduciary", party.significant_fiduciary.to_string())
            }
            PartyTest::Dpf | PartyTest::DpfHr => {
                let until = party.dpf.as_ref().and_then(|one| one.active_until.clone());
                at("dpf.active_until", end(until.as_ref()))
            }
            PartyTest::Baa => {
                let until = party.baa.as_ref().and_then(|one| one.valid_until.clone());
                at("baa.valid_until", end(until.as_ref()))
            }
            PartyTest::Seat(area) => self.links(party, path, area, None, false),
            PartyTest::Ultimate(area) | PartyTest::Covered(area) => {
                let mut found =
                    self.links(party, path, area, Some(self.limits().control_share), false);
                if party.designated {
                    found.push(plain(format!("{path}.designated"), "true".into()));
                }
                found
            }
            PartyTest::Exposed(area) => {
                self.links(party, path, area, Some(self.limits().exposure_share), false)
            }
            PartyTest::Outside(area) => {
                self.links(party, path, area, Some(self.limits().exposure_share), true)
            }
        }
    }

    /// The seat and the parents of at least `share` that are in the area, or outside of it.
    fn links(
        &self,
        party: &Party,
        path: &str,
        area: &Area,
        share: Option<u8>,
        outside: bool,
    ) -> Vec<Fact> {
        let meets = |place: &Option<String>| {
            let found = self.inside(area, place.as_deref(), String::new);
            let found = if outside { found.not() } else { found };
            found.truth == Truth::True
        };
        let seat = Some(&party.seat).filter(|seat| meets(seat));
        let mut facts: Vec<Fact> = seat
            .into_iter()
            .map(|seat| plain(format!("{path}.seat"), seat.clone().unwrap_or_default()))
            .collect();
        for (number, parent) in party.parents.iter().enumerate() {
            let holds = share.zip(parent.share).is_some_and(|(least, own)| own.at_least(least));
            if holds && meets(&parent.place) {
                let share = parent.share.map(|share| share.to_string()).unwrap_or_default();
                let value = format!("{} ({share} %)", parent.place.as_deref().unwrap_or("?"));
                facts.push(plain(format!("{path}.parents[{number}]"), value));
            }
        }
        facts
    }

    fn behind_orders(&self, atom: &Atom) -> Vec<Fact> {
        let Test::Order(kind) = &atom.test else { return Vec::new() };
        let orders = self.view.question.orders.iter().enumerate();
        let covering = orders
            .filter(|(number, order)| self.covered_by(*kind, order, *number).truth == Truth::True);
        covering
            .map(|(number, order)| {
                let fact = plain(format!("orders[{number}]"), order.id.clone().unwrap_or_default());
                let since = order.effective_from.clone();
                Fact { source: order.authority.clone(), since, ..fact }
            })
            .collect()
    }

    fn behind_volume(&self) -> Vec<Fact> {
        let components = self.view.question.components.iter().enumerate();
        let together = components.filter(|(number, component)| {
            *number == self.number || component.regimes.iter().any(|regime| regime == self.regime)
        });
        let now = together.flat_map(|(number, component)| {
            let amount = move |key: &str, amount: Option<u64>| {
                let path = format!("components[{number}].{key}");
                amount.map(|amount| plain(path, amount.to_string()))
            };
            [
                amount("sensitive_subjects", component.sensitive_subjects),
                amount("subjects", component.subjects),
            ]
        });
        let before = self
            .view
            .question
            .counters
            .iter()
            .enumerate()
            .filter(|(_, counter)| counter.amount_before > 0);
        let before = before.map(|(number, counter)| {
            plain(format!("counters[{number}].amount_before"), counter.amount_before.to_string())
        });
        now.flatten().chain(before).collect()
    }

    /// The grounds of this type on file, each with what keeps it from carrying the cell by one of these rows.
    fn dead_grounds(&self, kind: &str, rows: &[RowId]) -> Vec<Fact> {
        let Some(kind) = self.view.rulebook.ground_type(kind) else { return Vec::new() };
        let grounds = self.view.question.grounds.iter().enumerate();
        let named = grounds.filter(|(_, ground)| ground.r#type.as_ref() == Some(&kind.id));
        named
            .filter_map(|(number, ground)| {
                let path = format!("grounds[{number}]");
                let defect = self
                    .defect(kind, ground, &path)
                    .or_else(|| self.unmet(kind, ground, &path, rows))?;
                let id = ground.id.as_deref().unwrap_or(&kind.id);
                let fact = plain(path, format!("{id}: {defect}"));
                let since = ground.valid_from.clone();
                Some(Fact { source: source(ground), since, ..fact })
            })
            .collect()
    }

    /// What these rows ask for beside a live ground of this type and do not get: of the rows that its assessment carries,
    /// the one that lacks least.
    fn unmet(
        &self,
        kind: &GroundType,
        ground: &Ground,
        path: &str,
        rows: &[RowId],
    ) -> Option<String> {
        let mut asking = rows
            .iter()
            .filter_map(|row| {
                let asked = self.asked(*row).find(|(asked, _)| *asked == kind.id);
                asked.map(|(_, qualifier)| (*row, qualifier))
            })
            .peekable();
        asking.peek()?;
        let carried = asking.filter(|(_, wanted)| {
            wanted.is_none_or(|wanted| assessed(ground, wanted, path).truth == Truth::True)
        });
        let lacking = carried.map(|(row, _)| self.lacking(row));
        let Some(lacking) = lacking.min_by_key(Vec::len) else {
            return Some("its assessment does not carry this".into());
        };
        (!lacking.is_empty())
            .then(|| format!("live, but this does not hold: {}", explain::quoted(&lacking)))
    }

    /// What a row asks for and does not get, its grounds apart.
    fn lacking(&self, row: RowId) -> Vec<String> {
        let rulebook = self.view.rulebook;
        let literals = rulebook.literals(row).iter().filter(|literal| !self.has(**literal));
        literals.map(|literal| rulebook.text(*literal)).collect()
    }

    /// The literal holds, or asks for a ground.
    fn has(&self, literal: Literal) -> bool {
        let Some(atom) = self.view.rulebook.atom(literal.symbol) else { return false };
        let wanted = if literal.negated { Truth::False } else { Truth::True };
        matches!(atom.test, Test::Ground(..)) || self.evaluate(atom).truth == wanted
    }
}

/// Who says that there is this ground.
fn source(ground: &Ground) -> Option<String> {
    let level = ground.level.as_ref().map(|level| word(Some(*level)));
    match (level, &ground.evidence) {
        (Some(level), Some(evidence)) => Some(format!("{level}, {evidence}")),
        (level, evidence) => level.or_else(|| evidence.clone()),
    }
}

fn plain(path: String, value: String) -> Fact {
    let value = if value.is_empty() { NONE.into() } else { value };
    Fact { path, value, source: None, since: None }
}

fn end(until: Option<&Option<Stamp>>) -> String {
    match until {
        None => String::new(),
        Some(None) => "null".into(),
        Some(Some(until)) => until.to_string(),
    }
}

fn listed<T>(all: &[T], each: impl Fn(&T) -> String) -> String {
    all.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// A value of a closed enum as the question writes it.
fn word<T: serde::Serialize>(value: Option<T>) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().into()
}

const NONE: &str = "-";
/// A question has a handful of facts for each cell; more explain nothing.
const FACTS_MAX: usize = 8;
