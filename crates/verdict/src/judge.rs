//! Facts become a judgement: every cell is made abstract, matched, and composed; over cells the worst outcome wins, over
//! candidate sites the best.
//!
//! *Invariant:* there is no path to an allow that does not match every cell, and none on which an unknown fact helps.

use alloc::{string::String, vec, vec::Vec};

use crate::{
    cell::{Matcher, Pure},
    compose::{self, Composed},
    decision::{Decision, Outcome, Remedy, RemedyKind, Text, Why},
    evaluate::View,
    explain,
    facts::{Candidate, Facts, Gap, Judgement},
    question::{Question, Site},
    reason::Reason,
    remedy,
    rule::Rulebook,
    stamp::Stamp,
    terms::{self, QuestionError},
};

/// Judges one request for all candidate sites with the pure matcher; `at` in Unix seconds.
#[must_use]
pub fn judge(rulebook: &Rulebook, facts: &Facts, at: i64) -> Judgement {
    judge_with(rulebook, facts, at, &mut Pure)
}

/// The same with a matcher of the caller's, e.g. a memo before two engines.
#[must_use]
pub fn judge_with(
    rulebook: &Rulebook,
    facts: &Facts,
    at: i64,
    matcher: &mut dyn Matcher,
) -> Judgement {
    let gaps = gaps(rulebook, facts);
    if !gaps.is_empty() {
        let reasons = gaps.iter().map(|gap| explain::gap(rulebook, gap)).collect();
        return refused(Decision {
            reasons,
            ..blank(rulebook, &facts.question, &facts.question.site)
        });
    }
    let mut sites: Vec<&Site> = facts.sites.iter().collect();
    sites.sort_by(|a, b| a.id.cmp(&b.id));
    let tried = sites.into_iter().map(|site| {
        let view = View { rulebook, question: &facts.question, site, at };
        let id = site.id.clone().unwrap_or_else(|| explain::UNKNOWN.into());
        Tried { id, view, composed: compose::compose(view, matcher) }
    });
    let tried: Vec<Tried<'_>> = tried.collect();
    choose(facts.pinned.as_ref(), &tried)
        .unwrap_or_else(|| refused(blank(rulebook, &facts.question, &facts.question.site)))
}

/// Answers one question that has all its facts inline.
///
/// # Errors
/// When it uses a term that the rulebook does not know.
pub fn decide(rulebook: &Rulebook, question: &Question) -> Result<Decision, QuestionError> {
    decide_with(rulebook, question, &mut Pure)
}

/// The same with a matcher of the caller's.
///
/// # Errors
/// When it uses a term that the rulebook does not know.
pub fn decide_with(
    rulebook: &Rulebook,
    question: &Question,
    matcher: &mut dyn Matcher,
) -> Result<Decision, QuestionError> {
    terms::check_question(rulebook.book(), question)?;
    terms::check_site(&rulebook.book().vocabulary, &question.site)?;
    let Some(at) = question.at.as_ref().map(Stamp::starts) else {
        let reasons = vec![explain::missing(rulebook, None, None, vec!["at".into()])];
        return Ok(Decision { reasons, ..blank(rulebook, question, &question.site) });
    };
    let view = View { rulebook, question, site: &question.site, at };
    let composed = compose::compose(view, matcher);
    let remedy = remedy::remedies(view, &composed);
    Ok(Decision { remedy, ..written(view, &composed) })
}

/// One candidate site, judged.
struct Tried<'a> {
    id: String,
    view: View<'a>,
    composed: Composed,
}

/// The best candidate speaks for all; a pinned one speaks for itself, and the others are its remedy.
fn choose(pinned: Option<&String>, tried: &[Tried<'_>]) -> Option<Judgement> {
    let asked: Vec<&Tried<'_>> =
        tried.iter().filter(|site| pinned.is_none_or(|id| *id == site.id)).collect();
    // of equals `min_by_key` takes the first, and sites are in the order of their ids
    let best = asked.iter().min_by_key(|site| site.composed.outcome)?;
    let outcome = best.composed.outcome;
    let mut remedy = Vec::new();
    let mut permitted = Vec::new();
    if allows(outcome) {
        let equal = asked.iter().filter(|site| site.composed.outcome == outcome);
        permitted.extend(equal.map(|site| site.id.clone()));
    } else {
        let mut others: Vec<_> =
            tried.iter().filter(|site| allows(site.composed.outcome)).collect();
        others.sort_by_key(|site| site.composed.outcome);
        remedy.extend(others.into_iter().map(|site| use_site(&site.id)));
    }
    remedy.extend(remedy::remedies(best.view, &best.composed));
    let decision = Decision { remedy, ..written(best.view, &best.composed) };
    let candidates = tried.iter().map(|site| Candidate {
        site: site.id.clone(),
        decision: written(site.view, &site.composed),
    });
    Some(Judgement { outcome, permitted, decision, candidates: candidates.collect() })
}

/// What was composed at one site, as a decision without remedies.
fn written(view: View<'_>, composed: &Composed) -> Decision {
    Decision {
        outcome: composed.outcome,
        reasons: composed.reasons.clone(),
        obligations: composed.obligations.clone(),
        cells: composed.cells.clone(),
        valid_until: composed.valid_until.and_then(|turn| Stamp::at(turn).ok()),
        ..blank(view.rulebook, view.question, view.site)
    }
}

/// `sha256:` and hex over the canonical bytes of the question at this site, without `id` and `at`.
#[must_use]
pub fn facts_digest(question: &Question, site: &Site) -> String {
    let question = Question { id: None, at: None, site: site.clone(), ..question.clone() };
    // every fact is a string, an integer, a flag or a list of them: this cannot fail
    crate::digest(&crate::canonical(&question).unwrap_or_default())
}

/// What could not be established, the terms that the rulebook does not know, and having nowhere to go.
fn gaps(rulebook: &Rulebook, facts: &Facts) -> Vec<Gap> {
    let mut gaps = facts.gaps.clone();
    gaps.extend(without_access(facts));
    let words = &rulebook.book().vocabulary;
    let question = terms::check_question(rulebook.book(), &facts.question);
    let sites = facts.sites.iter().map(|site| terms::check_site(words, site));
    for error in [question].into_iter().chain(sites).filter_map(Result::err) {
        gaps.push(Gap { reason: Reason::MissingFact, what: alloc::format!("{error}") });
    }
    let has = |id: &String| facts.sites.iter().any(|site| site.id.as_ref() == Some(id));
    match &facts.pinned {
        _ if !gaps.is_empty() => {}
        None if facts.sites.is_empty() => {
            gaps.push(Gap { reason: Reason::NoSite, what: String::new() });
        }
        Some(id) if !has(id) => {
            gaps.push(Gap { reason: Reason::PinRefused, what: id.clone() });
        }
        _ => {}
    }
    gaps.sort();
    gaps.dedup();
    gaps
}

/// The caller may not ask this at all, and nothing says so yet.
fn without_access(facts: &Facts) -> Option<Gap> {
    let refused = facts.access.as_ref()?.grants().err()?;
    let what = refused.row.map_or_else(
        || "no access row grants it".into(),
        |row| alloc::format!("access row `{row}` refuses it"),
    );
    let reason = Reason::AccessDenied;
    let said = facts.gaps.iter().any(|gap| gap.reason == reason);
    (!said).then_some(Gap { reason, what })
}

fn use_site(id: &str) -> Remedy {
    let text = Text {
        en: alloc::format!("Use site `{id}`: it is permitted."),
        ko: alloc::format!("사이트 `{id}` 사용: 허용됩니다."),
    };
    Remedy {
        kind: RemedyKind::UseSite,
        value: id.into(),
        text,
        scope: None,
        example: None,
        and: Vec::new(),
    }
}

fn refused(decision: Decision) -> Judgement {
    Judgement { outcome: Outcome::Deny, permitted: Vec::new(), decision, candidates: Vec::new() }
}

/// A refusal without cells; what is decided fills in the rest.
fn blank(rulebook: &Rulebook, question: &Question, site: &Site) -> Decision {
    Decision {
        id: question.id.clone(),
        outcome: Outcome::Deny,
        reasons: Vec::<Why>::new(),
        obligations: Vec::new(),
        cells: Vec::new(),
        remedy: Vec::new(),
        valid_until: None,
        bundle: rulebook.digest().into(),
        facts_digest: facts_digest(question, site),
    }
}

pub(crate) fn allows(outcome: Outcome) -> bool {
    outcome <= Outcome::AllowWithObligations
}
