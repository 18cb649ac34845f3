//! Which notices the facts call for, and their bytes.

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use verdict::stamp::Stamp;

use crate::obligation::{Obligation, State};
use crate::registry::{Ending, Snapshot};

/// One notice. Equal keys are one notice, made once for each webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub key: String,
    /// As the Standard Webhooks scheme has it: `type`, `timestamp`, `data`.
    pub body: String,
}

/// Every notice that an organisation ought to have had at `at` (unix seconds): of what runs out only the nearest of the
/// days that it is told at, so that who registers late is not told thrice.
pub(super) fn due(snapshot: &Snapshot, org: &str, at: i64) -> Vec<Notice> {
    let endings = snapshot.endings(org).into_iter().filter_map(|(ending, until)| {
        let left = until.ends().checked_sub(at).filter(|left| *left > 0)?;
        let days = DAYS.into_iter().find(|days| left <= days * DAY_S)?;
        Some(running_out(org, &ending, &until, days, at))
    });
    let over = |order: &verdict::question::Order| {
        order.until.as_ref().and_then(Option::as_ref).is_some_and(|until| until.ends() <= at)
    };
    let orders = snapshot.orders_touching(org).filter(|(_, order)| !over(order));
    endings.chain(orders.map(|(id, order)| ordered(org, id, order, at))).collect()
}

/// Of an organisation's obligations: what is due, at the nearest of the days, and what is overdue or cannot be met any more.
/// One of each for an obligation, whatever becomes of its time afterwards.
pub(super) fn obliged(obligations: &[Obligation], at: i64) -> Vec<Notice> {
    let mark = |one: &Obligation| match one.state {
        State::Open => {
            let left = one.due?.checked_sub(at).filter(|left| *left > 0)?;
            let days = DAYS.into_iter().find(|days| left <= days * DAY_S)?;
            Some((days.to_string(), "obligation.due", Some(days)))
        }
        State::Overdue => Some(("overdue".to_owned(), "obligation.overdue", None)),
        State::Broken => Some(("broken".to_owned(), "obligation.broken", None)),
        State::Met | State::Closed => None,
    };
    let notice = |one: &Obligation| {
        let (mark, kind, days) = mark(one)?;
        let due = one.due.and_then(|due| Stamp::at(due).ok()).map(|due| due.to_string());
        let mut data = json!({ "org": one.org, "obligation": one.id, "code": one.code, "service": one.service,
            "site": one.site, "period": one.period, "due": due,
            "text": one.meaning.as_ref().map(|meaning| &meaning.text) });
        if let (Some(days), Some(data)) = (days, data.as_object_mut()) {
            data.insert("days".into(), days.into());
        }
        Some(notice(format!("obligation/{}/{mark}", one.id), kind, at, &data))
    };
    obligations.iter().filter_map(notice).collect()
}

/// A notice that somebody asked for.
pub(super) fn test(org: &str, nonce: &str, at: i64) -> Notice {
    notice(format!("test/{nonce}"), "webhook.test", at, &json!({ "org": org }))
}

fn running_out(org: &str, ending: &Ending, until: &Stamp, days: i64, at: i64) -> Notice {
    let until = until.to_string();
    match ending {
        Ending::Ground { id, kind, regime } => notice(
            format!("ground/{id}/{until}/{days}"),
            "ground.expiring",
            at,
            &json!({ "org": org, "ground": id, "ground_type": kind, "regime": regime, "valid_until": until,
                "days": days }),
        ),
        Ending::Certificate { site, scheme } => notice(
            format!("certificate/{site}/{scheme}/{until}/{days}"),
            "certificate.expiring",
            at,
            &json!({ "org": org, "site": site, "scheme": scheme, "valid_until": until, "days": days }),
        ),
    }
}

/// An order that is changed is another notice.
fn ordered(org: &str, id: &str, order: &verdict::question::Order, at: i64) -> Notice {
    let text = verdict::canonical(order).unwrap_or_default();
    let digest = hex::encode(Sha256::digest(&text));
    let stamp = |stamp: Option<&Stamp>| stamp.map(ToString::to_string);
    let until = order.until.as_ref().and_then(Option::as_ref);
    notice(
        format!("order/{id}/{}", digest.get(..16).unwrap_or_default()),
        "order.touches",
        at,
        &json!({ "org": org, "order": id, "authority": order.authority, "order_kind": order.kind,
            "effective_from": stamp(order.effective_from.as_ref()), "until": stamp(until) }),
    )
}

fn notice(key: String, kind: &str, at: i64, data: &Json) -> Notice {
    let timestamp = Stamp::at(at).map(|stamp| stamp.to_string()).unwrap_or_default();
    let body = json!({ "type": kind, "timestamp": timestamp, "data": data }).to_string();
    Notice { key, body }
}

/// Before something ends, nearest first.
const DAYS: [i64; 3] = [7, 30, 90];
const DAY_S: i64 = 86_400;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::registry::tree;

    fn keys(at: &str) -> Vec<String> {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry-example");
        let at = Stamp::parse(at).unwrap().starts();
        let snapshot = Snapshot::of(&tree::read(&example).unwrap(), 1, at).unwrap();
        due(&snapshot, "kr-retailer", at).into_iter().map(|notice| notice.key).collect()
    }

    /// A ground of the example ends with 2027-01-31.
    #[test]
    fn what_runs_out_is_told_at_90_30_and_7_days_and_then_no_more() {
        let until = |days: &[(&str, Option<i64>)]| {
            for (at, expected) in days {
                let keys = keys(at);
                let told: Vec<i64> = keys
                    .iter()
                    .filter(|key| key.starts_with("ground/") && key.contains("/2027-01-31/"))
                    .filter_map(|key| key.rsplit('/').next()?.parse().ok())
                    .collect();
                assert!(told.iter().all(|days| Some(*days) == *expected), "{at}: {keys:?}");
                assert_eq!(told.is_empty(), expected.is_none(), "{at}: {keys:?}");
            }
        };
        until(&[
            ("2026-11-02", None),
            ("2026-11-03", Some(90)),
            ("2027-01-01", Some(90)),
            ("2027-01-02", Some(30)),
            ("2027-01-25", Some(7)),
            ("2027-01-31T23:59:59Z", Some(7)),
            ("2027-02-01", None),
        ]);
    }

    #[test]
    fn an_obligation_is_told_before_its_time_and_once_it_is_over() {
        let one = |state, due| Obligation {
            id: "7f".into(),
            state,
            org: "kr-bank".into(),
            service: "m".into(),
            site: "kr-seo-1".into(),
            code: "FSS_REPORT".into(),
            period: "once".into(),
            first: 0,
            last: 0,
            decisions: 1,
            due,
            meaning: None,
            closed: None,
            checked: None,
        };
        let at = 1_795_132_800;
        for (state, due, key) in [
            (State::Open, Some(at + 90 * DAY_S + 1), None),
            (State::Open, Some(at + 90 * DAY_S), Some("obligation/7f/90")),
            (State::Open, Some(at + 30 * DAY_S), Some("obligation/7f/30")),
            (State::Open, Some(at + 1), Some("obligation/7f/7")),
            // in its last second it is neither ahead nor over
            (State::Open, Some(at), None),
            (State::Overdue, Some(at - 1), Some("obligation/7f/overdue")),
            (State::Broken, None, Some("obligation/7f/broken")),
            (State::Open, None, None),
            (State::Met, Some(at - 1), None),
            (State::Closed, Some(at - 1), None),
        ] {
            let told = obliged(&[one(state, due)], at);
            let keys: Vec<&str> = told.iter().map(|notice| notice.key.as_str()).collect();
            assert_eq!(keys, key.into_iter().collect::<Vec<_>>(), "{state:?} {due:?}");
        }
        let told = obliged(&[one(State::Open, Some(at + DAY_S))], at);
        let body: Json = serde_json::from_str(&told[0].body).unwrap();
        assert_eq!((&body["type"], &body["data"]["days"]), (&json!("obligation.due"), &json!(7)));
        assert_eq!(body["data"]["due"], "2026-11-21T00:00:00Z");
    }

    #[test]
    fn a_notice_says_what_it_is_about_and_no_more() {
        let notice = test("kr-retailer", "1", 1_795_132_800);
        let body: Json = serde_json::from_str(&notice.body).unwrap();
        let expected = json!({ "type": "webhook.test", "timestamp": "2026-11-20T00:00:00Z",
            "data": { "org": "kr-retailer" } });
        assert_eq!(body, expected);
    }
}
