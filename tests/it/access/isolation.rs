//! Whatever an organisation writes, no other organisation's answer changes, no floor refusal becomes an allow, and casbin
//! and the pure reading agree.

use std::sync::LazyLock;

use haetae::policy::OPERATIONS;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;

/// A runtime that outlives the cases of a property.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

const ROLES: [&str; 6] = ["user", "admin", "auditor", "teller", "intern", "chief"];
const SERVICES: [&str; 4] = [MODEL, "bge-m3", "haetae:access", "haetae:holds"];

fn rows() -> impl Strategy<Value = Vec<(Sort, Value)>> {
    let row = (
        prop::sample::select(vec!["allow", "deny"]),
        prop::sample::select(ROLES.to_vec()),
        prop::sample::subsequence(SERVICES.to_vec(), 0..=3),
        prop::sample::subsequence(OPERATIONS.to_vec(), 1..=4),
        any::<bool>(),
    )
        .prop_map(|(out, role, services, operations, delegable)| {
            json!({ "out": out, "role": role, "services": services, "every_service": services.is_empty(),
                "operations": operations, "delegable": delegable && out == "allow" })
        });
    // roles are ordered, so that there is no circle
    let link = (0..ROLES.len(), 0..ROLES.len(), any::<bool>()).prop_filter_map(
        "upwards",
        |(one, two, person)| {
            if person {
                return Some(json!({ "actor": "kim", "issuer": ISSUER, "role": ROLES[two] }));
            }
            (one < two).then(|| json!({ "member": ROLES[one], "role": ROLES[two] }))
        },
    );
    (prop::collection::vec(row, 0..8), prop::collection::vec(link, 0..6)).prop_map(
        |(rows, links)| {
            let named = |(nth, mut document): (usize, Value), sort: Sort| {
                document["id"] =
                    json!(format!("{RETAILER}/{}{nth}", sort.name().replace('_', "-")));
                document["org"] = json!(RETAILER);
                (sort, document)
            };
            let rows = rows.into_iter().enumerate().map(|one| named(one, Sort::AccessRow));
            let links = links.into_iter().enumerate().map(|one| named(one, Sort::RoleGrant));
            rows.chain(links).collect()
        },
    )
}

type Answers = Vec<Result<(), Reason>>;

/// Every answer that an organisation's people can get.
async fn answers(bundle: &Bundle, org: &str, own: Option<&OwnAccess>) -> Answers {
    let mut all = Vec::new();
    let people = ROLES.iter().map(|role| Who::new("kim", &[role]));
    for who in people.chain([Who::new("kim", &[]), Who::new("kim", &["user", "teller"])]) {
        for service in SERVICES.iter().chain(&["some-other-model", "haetae:policy"]) {
            for operation in OPERATIONS {
                all.push(may(bundle, org, own, &who, service, operation).await);
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_organisations_rows_are_nobody_elses(documents in rows()) {
        RUNTIME.block_on(async {
            let bundle = bundle().await;
            let bank = own("de-bank", &[(Sort::AccessRow, json!({ "id": "de-bank/a", "org": "de-bank",
                "out": "allow", "role": "teller", "services": [MODEL], "operations": ["cancel"] }))]);
            let before = (answers(&bundle, "kr-hospital", None).await, answers(&bundle, "de-bank", Some(&bank)).await);
            let retailer = own(RETAILER, &documents);
            prop_assert_eq!(retailer.fault(), None);
            let mine = answers(&bundle, RETAILER, Some(&retailer)).await;
            let after = (answers(&bundle, "kr-hospital", None).await, answers(&bundle, "de-bank", Some(&bank)).await);
            prop_assert_eq!(before, after);
            // only leave or a refusal by rows: the engines agreed on each
            prop_assert!(mine.iter().all(|answer| matches!(answer, Ok(()) | Err(Reason::AccessDenied))));
            for role in ROLES {
                for model in [MODEL, "bge-m3", "some-other-model"] {
                    let answer = may(&bundle, RETAILER, Some(&retailer), &Who::new("kim", &[role]), model, "admin").await;
                    prop_assert_eq!(answer, Err(Reason::AccessDenied));
                }
            }
            Ok(())
        })?;
    }

    /// Whatever an administrator writes that is let through, they and theirs have nothing that they did not have.
    #[test]
    fn no_sequence_of_accepted_changes_gives_the_administrator_more(
        start in rows(), wishes in rows(),
    ) {
        RUNTIME.block_on(async {
            let bundle = bundle().await;
            let kim = Who::new("kim", &["intern"]);
            let mut documents = start;
            let mut before = own(RETAILER, &documents);
            let has = async |own: &OwnAccess| -> Answers {
                let mut all = Vec::new();
                for service in SERVICES.iter().chain(&["some-other-model"]) {
                    for operation in OPERATIONS {
                        all.push(may(&bundle, RETAILER, Some(own), &kim, service, operation).await);
                    }
                }
                all
            };
            let at_first = has(&before).await;
            for (nth, (sort, mut document)) in wishes.into_iter().enumerate() {
                document["id"] = json!(format!("{RETAILER}/new{nth}"));
                let mut next = documents.clone();
                next.push((sort, document));
                // in turn an entry is taken away
                if nth % 2 == 1 && next.len() > 2 {
                    next.remove(nth % next.len());
                }
                let after = own(RETAILER, &next);
                let asker = Asker { org: RETAILER, roles: &kim.roles, actor: Some(&kim.actor), own: Some(&before) };
                let acting = haetae::policy::Acting::Administrator(asker);
                if bundle.check_access_change(&before, &after, acting, true).is_ok() {
                    (documents, before) = (next, after);
                }
            }
            let at_last = has(&before).await;
            for (first, last) in at_first.iter().zip(&at_last) {
                prop_assert!(first.is_ok() || last.is_err(), "from {:?} to {:?}", first, last);
            }
            Ok(())
        })?;
    }
}

/// More by an environment variable: each case builds three engines.
fn cases() -> u32 {
    std::env::var("HAETAE_ACCESS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}
