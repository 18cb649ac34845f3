//! Predicates over what is on file: grounds, orders, lists and counters.

use alloc::{format, string::String, vec::Vec};

use crate::{
    atom::{Area, Qualifier},
    cell::Truth,
    evaluate::Scene,
    finding::Finding,
    place,
    question::{
        Component, Counter, Ground, List, ListKind, Order, OrderKind, Party, Role, SENT,
        TiaOutcome, Window,
    },
    rule::{Detail, GroundType, Measure, Threshold},
    stamp::Stamp,
};

impl Scene<'_> {
    /// A live ground of this type covers the cell.
    pub(crate) fn ground(&self, kind: &str, qualifier: Option<&Qualifier>) -> Finding {
        let Some(kind) = self.view.rulebook.ground_type(kind) else { return Finding::known(false) };
        let grounds = self.view.question.grounds.iter().enumerate();
        let named = grounds.filter(|(_, ground)| ground.r#type.as_ref() == Some(&kind.id));
        Finding::any(named.map(|(number, ground)| {
            let live = self.live(kind, qualifier, ground, &format!("grounds[{number}]"));
            Finding { ground: Some(number), ..live }
        }))
    }

    fn live(
        &self,
        kind: &GroundType,
        qualifier: Option<&Qualifier>,
        ground: &Ground,
        path: &str,
    ) -> Finding {
        let at = |key: &str| format!("{path}.{key}");
        let regime = ground.regime.as_deref();
        Finding::compare(regime, |own| own == kind.regime, || at("regime"))
            .and(|| Finding::known(!ground.suspended))
            .and(|| self.in_scope(kind, ground))
            .and(|| self.details(kind, ground, path))
            .and(|| qualifier.map_or(Finding::known(true), |wanted| assessed(ground, wanted, path)))
            .and(|| self.begun(ground.valid_from.as_ref(), || at("valid_from")))
            .and(|| self.unended(ground.valid_until.as_ref(), || at("valid_until")))
    }

    /// The first thing that keeps a ground of this type from being live for the cell, in a few words; `None` when nothing does.
    pub(crate) fn defect(&self, kind: &GroundType, ground: &Ground, path: &str) -> Option<String> {
        let holds = |finding: Finding| finding.truth == Truth::True;
        let until = ground.valid_until.as_ref();
        let fails: [(&str, bool); 6] = [
            ("of another regime", ground.regime.as_deref() == Some(kind.regime.as_str())),
            ("suspended", !ground.suspended),
            ("not begun", holds(self.begun(ground.valid_from.as_ref(), String::new))),
            ("over", holds(self.unended(until, String::new))),
            ("not of this scope", holds(self.in_scope(kind, ground))),
            ("details are wanting or too old", holds(self.details(kind, ground, path))),
        ];
        let (what, _) = fails.into_iter().find(|(_, fine)| !fine)?;
        let end = until.and_then(Option::as_ref).filter(|_| what == "over");
        Some(end.map_or_else(|| what.into(), |end| format!("{what} since {end}")))
    }

    fn in_scope(&self, kind: &GroundType, ground: &Ground) -> Finding {
        let scope = &ground.scope;
        let any = |list: &[String]| list.iter().any(|term| term == ANY);
        let covered = |own: &String| scope.categories.iter().any(|wide| self.is_a(own, wide));
        let own = &self.component.categories;
        let categories = any(&scope.categories) || (!own.is_empty() && own.iter().all(covered));
        Finding::known(categories)
            .and(|| {
                let listed = |role: Role| {
                    any(&scope.roles) || scope.roles.iter().any(|own| own == role_name(role))
                };
                self.role(|role| !kind.never_roles.contains(&role) && listed(role))
            })
            .and(|| {
                if any(&scope.recipients) || scope.recipients.is_empty() {
                    return Finding::known(!scope.recipients.is_empty());
                }
                let asker = self.subject.entity.as_ref();
                if kind.to_subject && asker.is_some_and(|own| scope.recipients.contains(own)) {
                    return Finding::known(true);
                }
                let leg = self.leg;
                let entity = leg.recipient.as_deref().and_then(|party| party.entity.as_ref());
                let path = || match leg.recipient {
                    Some(_) => format!("{}.entity", leg.recipient_path),
                    None => leg.recipient_path.clone(),
                };
                Finding::compare(entity, |own| scope.recipients.contains(own), path)
            })
            .and(|| self.reaches(&scope.places))
    }

    /// The flow ends in one of the places of a scope or an order; `*` is any.
    fn reaches(&self, places: &[String]) -> Finding {
        Finding::any(places.iter().map(|place| {
            if place == ANY {
                return Finding::known(true);
            }
            self.inside(&Area::Named(place.clone()), self.leg.to, || self.leg.to_path.clone())
        }))
    }

    fn details(&self, kind: &GroundType, ground: &Ground, path: &str) -> Finding {
        use crate::decision::Flow::{Onward, SubProcessor};
        let onward: &[Detail] = match self.leg.flow {
            SubProcessor | Onward => &kind.onward_details,
            _ => &[],
        };
        let needed = kind.details.iter().chain(onward);
        Finding::all(needed.map(|detail| self.detail(*detail, ground, path)))
    }

    /// A detail that its type needs: what is not there is unknown, also a flag that was never set.
    fn detail(&self, detail: Detail, ground: &Ground, path: &str) -> Finding {
        let own = &ground.details;
        let at = |more: &str| format!("{path}.details.{}{more}", detail.name());
        let text = |value: &Option<String>| {
            Finding::compare(value.as_ref(), |text| !text.is_empty(), || at(""))
        };
        let flag = |set: bool| Finding::compare(set.then_some(()), |()| true, || at(""));
        let limits = self.limits();
        match detail {
            Detail::DisclosureRef => text(&own.disclosure_ref),
            Detail::Approver => text(&own.approver),
            Detail::ApprovalRef => text(&own.approval_ref),
            Detail::ImpactAssessmentRef => text(&own.impact_assessment_ref),
            Detail::InstructionRef => text(&own.instruction_ref),
            Detail::LicenceRef => text(&own.licence_ref),
            Detail::StatuteRef => text(&own.statute_ref),
            Detail::InfoProvided => flag(own.info_provided),
            Detail::Single => flag(own.single),
            Detail::SeparateConsent => flag(own.separate_consent),
            Detail::SingleUse => flag(own.single_use),
            Detail::CheckedAt => {
                let checked = own.checked_at.as_ref();
                Finding::fresh(self.view.at, checked, limits.check_age_s, || at(""))
            }
            Detail::Tia => {
                let Some(tia) = &own.tia else { return Finding::unknown(at("")) };
                Finding::compare(tia.outcome, |_| true, || at(".outcome")).and(|| {
                    let made = tia.at.as_ref();
                    Finding::fresh(self.view.at, made, limits.tia_age_s, || at(".at"))
                })
            }
            Detail::Layers => {
                let wanted = &self.component.layers;
                let approved = |layer: &String| own.layers.iter().any(|l| l == layer || l == ANY);
                Finding::compare(
                    wanted.first(),
                    |_| wanted.iter().all(approved),
                    || self.own("layers"),
                )
            }
        }
    }

    /// It has begun; an absent start is unknown.
    fn begun(&self, from: Option<&Stamp>, path: impl FnOnce() -> String) -> Finding {
        from.map_or_else(|| Finding::unknown(path()), |_| self.dated(from, None))
    }

    /// It is not over; an absent end is unknown, `null` is no end.
    pub(crate) fn unended(
        &self,
        end: Option<&Option<Stamp>>,
        path: impl FnOnce() -> String,
    ) -> Finding {
        end.map_or_else(|| Finding::unknown(path()), |end| self.dated(None, end.as_ref()))
    }

    /// No record of an agreement (a `us.baa` ground) is at odds with what the party says of itself: none that covers it is
    /// suspended, and one that is over or not yet begun was renewed or is preceded by another.
    pub(crate) fn baa_records_agree(&self, party: &Party, path: &str) -> Finding {
        let grounds = self.view.question.grounds.iter().enumerate();
        let records = grounds.filter(|(_, ground)| ground.r#type.as_deref() == Some(BAA_RECORD));
        let records: Vec<Record> =
            records.map(|(number, ground)| self.baa_record(party, path, number, ground)).collect();
        let carried = Finding::any(
            records.iter().map(|record| record.covers.clone().and(|| record.live.clone())),
        );
        Finding::all(records.into_iter().map(|Record { number, covers, suspended, live }| {
            let carried = if suspended { Finding::known(false) } else { carried.clone() };
            let agrees = covers.and(|| live.not()).not().or(carried);
            agrees.doubted(|| format!("grounds[{number}]"))
        }))
    }

    fn baa_record(&self, party: &Party, path: &str, number: usize, ground: &Ground) -> Record {
        let at = |key: &str| format!("grounds[{number}].{key}");
        let recipients = &ground.scope.recipients;
        let covers = if recipients.iter().any(|name| name == ANY) {
            Finding::known(true)
        } else if recipients.is_empty() {
            Finding::unknown(at("scope.recipients"))
        } else {
            Finding::compare(
                party.entity.as_ref(),
                |own| recipients.contains(own),
                || format!("{path}.entity"),
            )
        };
        let live = Finding::known(!ground.suspended)
            .and(|| self.begun(ground.valid_from.as_ref(), || at("valid_from")))
            .and(|| self.unended(ground.valid_until.as_ref(), || at("valid_until")));
        Record { number, covers, suspended: ground.suspended, live }
    }

    /// An order of this kind is in force and covers the flow. What its `match` leaves out does not narrow it.
    pub(crate) fn order(&self, kind: OrderKind) -> Finding {
        let orders = self.view.question.orders.iter().enumerate();
        Finding::any(orders.map(|(number, order)| self.covered_by(kind, order, number)))
    }

    pub(crate) fn covered_by(&self, kind: OrderKind, order: &Order, number: usize) -> Finding {
        let at = |key: &str| format!("orders[{number}].{key}");
        let scope = &order.r#match;
        let open = |list: &[String]| list.is_empty() || list.iter().any(|term| term == ANY);
        let org = self.view.question.subject.org.as_ref();
        Finding::compare(order.kind, |own| own == kind, || at("kind"))
            .and(|| match &scope.org {
                Some(wanted) if wanted != ANY => {
                    Finding::compare(org, |own| own == wanted, || "subject.org".into())
                }
                _ => Finding::known(true),
            })
            .and(|| {
                let regime = || scope.regimes.iter().any(|regime| regime == self.regime);
                Finding::known(open(&scope.regimes) || regime())
            })
            .and(|| {
                if open(&scope.categories) {
                    return Finding::known(true);
                }
                Finding::any(scope.categories.iter().map(|term| self.may_have_category(term)))
            })
            .and(|| if open(&scope.to) { Finding::known(true) } else { self.reaches(&scope.to) })
            .and(|| self.begun(order.effective_from.as_ref(), || at("effective_from")))
            .and(|| self.unended(order.until.as_ref(), || at("until")))
    }

    /// A list of this kind, made under the cell's regime, has the place where the flow ends.
    pub(crate) fn listed(&self, kind: ListKind) -> Finding {
        let listed = |(number, list): (usize, &List)| {
            let at = |key: &str| format!("lists[{number}].{key}");
            Finding::compare(list.kind, |own| own == kind, || at("kind"))
                .and(|| {
                    Finding::compare(
                        list.regime.as_deref(),
                        |own| own == self.regime,
                        || at("regime"),
                    )
                })
                .and(|| self.reaches(&list.places))
                .and(|| self.begun(list.valid_from.as_ref(), || at("valid_from")))
                .and(|| self.unended(list.valid_until.as_ref(), || at("valid_until")))
        };
        Finding::any(self.view.question.lists.iter().enumerate().map(listed))
    }

    /// One of the thresholds of this id is exceeded.
    pub(crate) fn volume(&self, id: &str) -> Finding {
        let thresholds = self.limits().thresholds.iter().filter(|threshold| threshold.id == id);
        Finding::any(thresholds.map(|threshold| self.exceeds(threshold)))
    }

    /// Data of the cell's component adds to the threshold.
    pub(crate) fn is_measured(&self, threshold: &Threshold) -> bool {
        self.measures(self.component, threshold)
    }

    /// Whoever's data is sensitive counts whatever its categories.
    fn measures(&self, component: &Component, threshold: &Threshold) -> bool {
        threshold.measure == Measure::SensitiveSubjects || self.has_one_of(component, threshold)
    }

    fn has_one_of(&self, component: &Component, threshold: &Threshold) -> bool {
        let own = &component.categories;
        let mut listed = threshold.categories.iter();
        listed.any(|wide| wide == ANY || own.iter().any(|term| self.is_a(term, wide)))
    }

    /// What was counted before and what this question adds: to cut a dataset in pieces does not make it smaller, so every
    /// component under the cell's regime counts that the threshold measures. What is sent may hold the data of all the others: who
    /// is in both is counted once.
    fn exceeds(&self, threshold: &Threshold) -> Finding {
        if !self.is_measured(threshold) {
            return Finding::known(false);
        }
        let components = self.view.question.components.iter().enumerate();
        let together = components.filter(|(number, component)| {
            *number == self.number
                || component.regimes.iter().any(|regime| regime == self.regime)
                    && self.measures(component, threshold)
        });
        let (sent, others): (Vec<_>, Vec<_>) =
            together.partition(|(_, component)| component.dataset.as_deref() == Some(SENT));
        let sum = |these: Vec<(usize, &Component)>| {
            let each = these.into_iter().map(|(number, one)| self.amount(number, one, threshold));
            each.fold(Amount::exactly(0), Amount::plus)
        };
        let all = self.before(threshold).plus(sum(others).larger(sum(sent)));
        if all.least > threshold.over {
            Finding::known(true)
        } else if all.most.is_some_and(|most| most <= threshold.over) {
            Finding::known(false)
        } else {
            Finding { missing: all.unknown, ..Finding::unknown(String::new()) }
        }
    }

    /// How many people's data a component adds: of whom the data is sensitive, at most all of them.
    fn amount(&self, number: usize, component: &Component, threshold: &Threshold) -> Amount {
        let unknown = |key: &str, most| Amount {
            least: 0,
            most,
            unknown: [format!("components[{number}].{key}")].into(),
        };
        let (all, sensitive) = (component.subjects, component.sensitive_subjects);
        match (threshold.measure, all, sensitive) {
            (Measure::Subjects, Some(all), _) => Amount::exactly(all),
            (Measure::Subjects, None, _) => unknown("subjects", None),
            (Measure::SensitiveSubjects, all, Some(some)) => {
                let nobody = some == 0 && all != Some(0) && self.has_one_of(component, threshold);
                if nobody || all.is_some_and(|all| some > all) {
                    // the facts contradict each other: any number may be the right one
                    return unknown("sensitive_subjects", None);
                }
                Amount::exactly(some)
            }
            (Measure::SensitiveSubjects, most, None) => unknown("sensitive_subjects", most),
        }
    }

    /// What the counters say that adds up to this threshold.
    fn before(&self, threshold: &Threshold) -> Amount {
        let counted = |window| {
            let counters = self.view.question.counters.iter().enumerate();
            counters.fold(Amount::exactly(0), |sum, (number, counter)| {
                match self.adds_up(counter, threshold, window) {
                    Truth::False => sum,
                    Truth::True => sum.plus(Amount::exactly(counter.amount_before)),
                    Truth::Unknown => sum.plus(Amount {
                        least: 0,
                        most: Some(counter.amount_before),
                        unknown: [format!("counters[{number}].category")].into(),
                    }),
                }
            })
        };
        let before = counted(threshold.window);
        if threshold.window == Window::Rolling365d {
            // what this year has seen, the last 365 days have seen as well: never both added, but at least the larger
            return before.larger(counted(Window::CalendarYear));
        }
        before
    }

    /// Does a counter add up to this threshold? What it leaves out does not narrow it; a category that is broader than
    /// those of the threshold may have been one of them.
    fn adds_up(&self, counter: &Counter, threshold: &Threshold, window: Window) -> Truth {
        let category = counter.category.as_deref().filter(|term| *term != ANY);
        let categories = counter.categories.as_slice();
        let listed = |term: &str| {
            let truth = |wide: &String| match wide == ANY || self.is_a(term, wide) {
                true => Truth::True,
                false if self.is_a(wide, term) => Truth::Unknown,
                false => Truth::False,
            };
            threshold.categories.iter().map(truth).max().unwrap_or(Truth::False)
        };
        let own = counter.window.or(counter.window_days.map(|_| Window::Rolling365d));
        let from = self.component.from.as_ref().or(self.component.origins.first());
        let others = counter.regime.as_ref().is_none_or(|regime| *regime == threshold.regime)
            && own.is_none_or(|own| own == window)
            && counter.measure.is_none_or(|measure| measure == threshold.measure)
            && meets(counter.from.as_deref(), from.map(String::as_str))
            && (!threshold.by_place || self.towards_any(counter));
        if !others {
            return Truth::False;
        }
        let any_of = categories.iter().map(|term| listed(term)).max().unwrap_or(Truth::True);
        category.map_or(Truth::True, listed).min(any_of)
    }

    fn towards_any(&self, counter: &Counter) -> bool {
        let places = counter.places.iter();
        self.towards(counter.to.as_deref())
            && (counter.places.is_empty()
                || places.map(Some).any(|to| self.towards(to.map(String::as_str))))
    }

    /// What was counted towards this place counts for the flow: it is where the flow ends, or where who receives it has
    /// its seat or a parent.
    fn towards(&self, counted: Option<&str>) -> bool {
        let recipient = self.leg.recipient.as_deref();
        let seat = recipient.and_then(|party| party.seat.as_deref());
        let mut parents = recipient.into_iter().flat_map(|party| &party.parents);
        meets(counted, self.leg.to)
            || meets(counted, seat)
            || parents.any(|parent| meets(counted, parent.place.as_deref()))
    }
}

/// How many people, as far as it is known: at least, and at most where there is a bound.
struct Amount {
    least: u64,
    most: Option<u64>,
    /// Paths of what would say it exactly.
    unknown: Vec<String>,
}

impl Amount {
    const fn exactly(amount: u64) -> Self {
        Self { least: amount, most: Some(amount), unknown: Vec::new() }
    }

    fn plus(mut self, more: Self) -> Self {
        self.unknown.extend(more.unknown);
        Self {
            least: self.least.saturating_add(more.least),
            most: self.most.zip(more.most).map(|(one, other)| one.saturating_add(other)),
            ..self
        }
    }

    fn larger(mut self, other: Self) -> Self {
        self.unknown.extend(other.unknown);
        let most = self.most.zip(other.most).map(|(one, other)| one.max(other));
        Self { least: self.least.max(other.least), most, ..self }
    }
}

/// One record of a business associate agreement, as it concerns one party.
struct Record {
    number: usize,
    covers: Finding,
    suspended: bool,
    live: Finding,
}

/// The places overlap; one that is not known may.
fn meets(area: Option<&str>, own: Option<&str>) -> bool {
    match (area, own) {
        (Some(area), Some(own)) => area == ANY || place::meets(area, own),
        _ => true,
    }
}

/// What the assessment kept with a ground says; without one it is unknown.
pub(crate) fn assessed(ground: &Ground, wanted: &Qualifier, path: &str) -> Finding {
    let path = |key: &str| format!("{path}.details.{key}");
    let Some(tia) = &ground.details.tia else { return Finding::unknown(path("tia")) };
    match wanted {
        Qualifier::NoProblem => Finding::compare(
            tia.outcome,
            |own| own == TiaOutcome::NoProblem,
            || path("tia.outcome"),
        ),
        Qualifier::Measure(measure) => Finding::known(tia.measures.contains(measure)),
    }
}

pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Entrustment => "entrustment",
        Role::Provision => "provision",
        Role::Storage => "storage",
    }
}

/// Any value, in scopes and in `match`.
pub(crate) const ANY: &str = "*";

/// The type of ground that records a business associate agreement (45 CFR 164.504(e)).
const BAA_RECORD: &str = "us.baa";
