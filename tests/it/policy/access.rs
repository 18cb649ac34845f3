//! Proves that an organisation grants in its own domain only, under the national floor, and that casbin's shared role graph
//! cannot be reached from a sheet.

use std::fs;
use std::sync::Arc;

use casbin::{CoreApi, DefaultModel, Enforcer, StringAdapter};
use verdict::reason::Reason;

use super::Copy;

/// The trap itself: in casbin a row of another graph makes mallory an admin. Shown so that an update which mends it is
/// noticed.
#[tokio::test]
async fn casbin_keeps_all_role_graphs_in_one() {
    let model = DefaultModel::from_str(
        "[request_definition]\nr = sub, obj\n[policy_definition]\np = sub, obj\n[role_definition]\ng = _, _\ng2 = _, _\ng3 = _, _\n\
         [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj",
    )
    .await
    .unwrap();
    let rows = StringAdapter::new("p, admin, vault\ng, alice, admin\ng3, mallory, admin\n");
    let enforcer = Enforcer::new(model, rows).await.unwrap();
    assert!(enforcer.enforce(("alice", "vault")).unwrap());
    assert!(enforcer.enforce(("mallory", "vault")).unwrap(), "casbin no longer shares the graph");
}

#[tokio::test]
async fn no_sheet_reaches_into_another_graph_or_organisation() {
    let copy = Copy::new();
    let sheet = |rows: &str| {
        let head = "p, id, out, role, org, service, operation\np, K01, allow, role:vault, org:kr-bank, *, cancel\ng, member, group, org\ng, role:teller, role:vault, org:kr-bank\n";
        fs::write(copy.path().join("access/kr-bank.csv"), format!("{head}{rows}\n")).unwrap();
    };
    sheet("g3, role:mallory, role:vault, org:kr-bank");
    copy.refuses("access/kr-bank.csv:5: section `g3` is not known: did you mean `g`?: begin the row with `p` or `g`: a row of another section would vanish").await;
    sheet("g, mallory, role:vault, org:kr-bank");
    copy.refuses("access/kr-bank.csv:5: member `mallory` has no prefix: write `role:mallory`")
        .await;
    sheet("g, role:mallory, role:vault, org:kr-retailer");
    copy.refuses("access/kr-bank.csv:5: domain `org:kr-retailer` in the sheet of `kr-bank`: write `org:kr-bank`: an organisation grants only in its own domain").await;
    sheet("");
    let bundle = copy.load().await.unwrap();
    let may = |org: &str, role: &str| bundle.access(org, &[role.into()], "m", "cancel").is_ok();
    assert!(may("kr-bank", "teller"));
    assert!(!may("kr-bank", "mallory"));
    assert!(!may("kr-retailer", "teller"), "the link holds in its own domain only");
}

#[tokio::test]
async fn the_floor_refuses_what_an_organisation_grants() {
    let copy = Copy::new();
    let sheet = "p, id, out, role, org, service, operation\np, K01, allow, role:root, org:kr-bank, *, *\np, K02, deny, role:root, org:kr-bank, secret-model, submit\n";
    fs::write(copy.path().join("access/kr-bank.csv"), sheet).unwrap();
    let bundle = copy.load().await.unwrap();
    let ask = |service: &str, operation: &str| {
        let roles: [Arc<str>; 1] = ["root".into()];
        // asked twice: the second answer comes from the memo
        let first = bundle.access("kr-bank", &roles, service, operation);
        assert_eq!(first, bundle.access("kr-bank", &roles, service, operation));
        first.map_err(|why| (why.code, why.rule))
    };
    assert_eq!(ask("m", "upload"), Ok(()));
    assert_eq!(ask("m", "admin"), Err((Reason::AccessDenied, Some("F01".into()))));
    // `*` is every service of the organisation and none of the gateway's own
    assert_eq!(ask("haetae:holds", "admin"), Err((Reason::AccessDenied, None)));
    assert_eq!(ask("secret-model", "submit"), Err((Reason::AccessDenied, Some("K02".into()))));
    assert_eq!(ask("m", "submit"), Ok(()));
    let nobody = bundle.access("kr-bank", &[], "m", "submit").unwrap_err();
    assert_eq!((nobody.code, nobody.rule), (Reason::AccessDenied, None));
}
