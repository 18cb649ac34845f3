//! Whoever administers access gives what they have and may pass on, takes no more than that, and cannot lock the
//! organisation out by mistake.

use super::*;

/// The retailer's administrator by entries of its own: may pass on `submit` and `cancel` on one model, and administration.
async fn with_an_administrator() -> (Lab, Who) {
    let lab = Lab::new().await;
    let delegable = json!({ "delegable": true });
    for document in [
        row("chief", "chief", "haetae:access", "admin"),
        with(
            row("models", "chief", MODEL, "submit"),
            json!({ "operations": ["submit", "cancel"] }),
        ),
    ] {
        let document = with(document, delegable.clone());
        lab.grant(entry(Sort::AccessRow, &document)).await.unwrap();
    }
    lab.grant(entry(Sort::RoleGrant, &to_actor("kim", "kim", "chief"))).await.unwrap();
    // what the administrator has but was not given to pass on, and what is not hers at all
    lab.grant(entry(Sort::AccessRow, &row("upload", "chief", MODEL, "upload"))).await.unwrap();
    lab.grant(entry(Sort::AccessRow, &row("holds", "officer", "haetae:holds", "admin")))
        .await
        .unwrap();
    let no = with(row("no", "chief", "bge-m3", "submit"), json!({ "out": "deny" }));
    lab.grant(entry(Sort::AccessRow, &no)).await.unwrap();
    (lab, Who::new("kim", &[]))
}

#[tokio::test]
async fn an_administrator_gives_and_takes_back_within_the_organisation() {
    let (lab, kim) = with_an_administrator().await;
    let teller = Who::new("t", &["teller"]);
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "cancel").await, Err(Reason::AccessDenied));
    let wish = a_row(&row("t", "teller", MODEL, "cancel"));
    lab.wish(wish.clone(), kim.of(RETAILER), false).await.unwrap();
    assert!(lab.wish(wish, kim.of(RETAILER), false).await.unwrap().is_nothing());
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "cancel").await, Ok(()));
    let intern = Who::new("i", &["intern"]);
    lab.wish(a_role(&to_role("i", "intern", "teller")), kim.of(RETAILER), false).await.unwrap();
    assert_eq!(lab.may(RETAILER, &intern, MODEL, "cancel").await, Ok(()));
    lab.wish(revoke(Sort::AccessRow, "t"), kim.of(RETAILER), false).await.unwrap();
    for who in [&teller, &intern] {
        assert_eq!(lab.may(RETAILER, who, MODEL, "cancel").await, Err(Reason::AccessDenied));
    }
    let again = lab.wish(revoke(Sort::AccessRow, "t"), kim.of(RETAILER), false).await;
    assert_eq!(again.unwrap_err().to_string(), "access_row `kr-retailer/t` is not registered");
}

#[tokio::test]
async fn every_way_to_more_is_refused() {
    let (lab, kim) = with_an_administrator().await;
    let own = |name: &str, service: &str, operation: &str| row(name, "chief", service, operation);
    let beyond = [
        // what she has and may not pass on; what she has not; another service of the gateway
        a_row(&row("a", "teller", MODEL, "upload")),
        a_row(&own("b", MODEL, "read_derived")),
        a_row(&own("c", "haetae:holds", "admin")),
        a_row(&with(own("d", MODEL, "upload"), json!({ "delegable": true }))),
        a_row(&own("e", "haetae:access", "metadata")),
        // every model is more than hers
        a_row(&with(own("f", MODEL, "submit"), json!({ "services": [], "every_service": true }))),
        // a role that has more: to herself, to a role of hers, to anybody
        a_role(&to_actor("g", "kim", "officer")),
        a_role(&to_role("h", "chief", "officer")),
        a_role(&to_role("i", "teller", "officer")),
        // roles of the bundle
        a_role(&to_actor("j", "kim", "admin")),
        a_role(&to_actor("k", "kim", "auditor")),
        // her own refusal taken away, or written over
        revoke(Sort::AccessRow, "no"),
        a_row(&row("no", "chief", "bge-m3", "submit")),
        a_row(&with(row("no", "nobody", "bge-m3", "submit"), json!({ "out": "deny" }))),
        // what is not hers to take or to forbid
        revoke(Sort::AccessRow, "holds"),
        revoke(Sort::AccessRow, "upload"),
        a_row(&with(row("l", "officer", "haetae:holds", "admin"), json!({ "out": "deny" }))),
        // a right that would begin to count later
        a_row(&with(own("m", MODEL, "upload"), json!({ "valid_from": "2030-01-01" }))),
    ];
    let before = store::head(lab.pool()).await.unwrap();
    for wish in beyond {
        let error = refused(lab.wish(wish.clone(), kim.of(RETAILER), true).await);
        assert!(matches!(error, ChangeError::Beyond { .. }), "{wish:?}: {error}");
    }
    assert_eq!(store::head(lab.pool()).await.unwrap(), before, "no version was taken");
    let acts: i64 =
        sqlx::query_scalar("select count(*) from log_outbox").fetch_one(lab.pool()).await.unwrap();
    assert_eq!(acts, 6, "and nothing is to be recorded but what made the administrator");
}

#[tokio::test]
async fn nobody_but_an_administrator_changes_anything() {
    let (lab, kim) = with_an_administrator().await;
    let wishes = [
        a_row(&row("a", "teller", MODEL, "submit")),
        a_role(&to_role("b", "intern", "teller")),
        revoke(Sort::AccessRow, "models"),
        revoke(Sort::RoleGrant, "kim"),
    ];
    let other_issuer = Who { roles: vec![], actor: actor_node("https://elsewhere.example", "kim") };
    let strangers: [(&str, Who); 8] = [
        (RETAILER, Who::new("x", &[])),
        (RETAILER, Who::new("x", &["user"])),
        (RETAILER, Who::new("x", &["Admin", "root", "chief:", "kr-retailer/chief"])),
        (RETAILER, Who::new("Kim", &[])),
        (RETAILER, other_issuer),
        // a stranger's own organisation lets them administer; this one does not
        ("de-bank", Who::new("kim", &["chief"])),
        ("de-bank", Who::new("x", &["admin"])),
        ("kr-hospital", Who::new("x", &["admin"])),
    ];
    for (org, who) in &strangers {
        for wish in &wishes {
            let error = refused(lab.wish(wish.clone(), who.of(org), true).await);
            assert_eq!(error, ChangeError::NotAdministrator, "{org}: {wish:?}");
        }
    }
    // a suspended administrator is none
    lab.wish(revoke(Sort::RoleGrant, "kim"), By::Operator, true).await.unwrap();
    for wish in &wishes[..3] {
        let error = refused(lab.wish(wish.clone(), kim.of(RETAILER), true).await);
        assert_eq!(error, ChangeError::NotAdministrator);
    }
}

#[tokio::test]
async fn an_administrator_by_the_bundle_gives_models_and_administration_and_no_more() {
    let lab = Lab::new().await;
    let lee = Who::new("lee", &["admin"]);
    lab.wish(a_role(&to_actor("k", "kim", "admin")), lee.of(RETAILER), false).await.unwrap();
    let every =
        with(row("e", "teller", MODEL, "submit"), json!({ "services": [], "every_service": true }));
    lab.wish(a_row(&every), lee.of(RETAILER), false).await.unwrap();
    assert_eq!(lab.may(RETAILER, &Who::new("t", &["teller"]), "any-model", "submit").await, Ok(()));
    let error = refused(
        lab.wish(a_row(&row("u", "teller", MODEL, "upload")), lee.of(RETAILER), false).await,
    );
    assert!(matches!(error, ChangeError::Beyond { .. }));
}

#[tokio::test]
async fn the_floor_is_nobodys_to_lift() {
    let (lab, kim) = with_an_administrator().await;
    for document in [
        row("a", "chief", MODEL, "admin"),
        with(row("b", "chief", MODEL, "admin"), json!({ "services": [], "every_service": true })),
        with(row("c", "chief", MODEL, "admin"), json!({ "delegable": true })),
    ] {
        for by in [By::Operator, kim.of(RETAILER)] {
            let error = refused(lab.wish(a_row(&document), by, true).await);
            assert!(matches!(&error, ChangeError::Floor { row, .. } if row == "F01"), "{error}");
        }
    }
    // past the check, the floor still refuses
    let own = own(RETAILER, &[(Sort::AccessRow, row("a", "chief", MODEL, "admin"))]);
    let chief = Who::new("x", &["chief"]);
    let answer = may(&lab.bundle, RETAILER, Some(&own), &chief, MODEL, "admin").await;
    assert_eq!(answer, Err(Reason::AccessDenied));
    // and nothing that an organisation writes changes a row of the bundle
    let row = with(row("x", "user", MODEL, "submit"), json!({ "id": "F01" }));
    assert!(entry_of(Sort::AccessRow, &row).is_err());
}

#[tokio::test]
async fn the_last_administrator_is_not_removed_by_mistake() {
    let (lab, kim) = with_an_administrator().await;
    let last = ChangeError::LastAdministrator { org: RETAILER.to_owned() };
    for by in [By::Operator, kim.of(RETAILER)] {
        let error = refused(lab.wish(revoke(Sort::AccessRow, "chief"), by, false).await);
        assert_eq!(error, last);
    }
    // the role still has it, so somebody who comes with the role may
    lab.wish(revoke(Sort::RoleGrant, "kim"), By::Operator, false).await.unwrap();
    let chief = Who::new("x", &["chief"]);
    lab.wish(revoke(Sort::AccessRow, "chief"), chief.of(RETAILER), true).await.unwrap();
    let error =
        refused(lab.wish(a_row(&row("a", "b", MODEL, "submit")), chief.of(RETAILER), true).await);
    assert_eq!(error, ChangeError::NotAdministrator);
}

#[tokio::test]
async fn two_administrators_cannot_both_be_the_last_to_go() {
    let (lab, _) = with_an_administrator().await;
    let second =
        with(row("second", "second", "haetae:access", "admin"), json!({ "delegable": true }));
    lab.grant(entry(Sort::AccessRow, &second)).await.unwrap();
    let (one, other) = tokio::join!(
        lab.wish(revoke(Sort::AccessRow, "chief"), By::Operator, false),
        lab.wish(revoke(Sort::AccessRow, "second"), By::Operator, false),
    );
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|ok| **ok).count(), 1);
}

#[tokio::test]
async fn each_change_is_an_act_for_the_log_and_an_older_directory_does_not_undo_a_revocation() {
    let lab = Lab::new().await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry-example");
    let copy = tempfile::tempdir().unwrap();
    for found in ["organisations", "sites", "datasets", "grounds", "lists", "outside"] {
        std::os::unix::fs::symlink(example.join(found), copy.path().join(found)).unwrap();
    }
    std::fs::create_dir(copy.path().join("access_rows")).unwrap();
    let csv = "id,org,out,role,services,operations\n\
        kr-retailer/file,kr-retailer,allow,teller,llama-3.3-70b,cancel;upload\n";
    std::fs::write(copy.path().join("access_rows/rows.csv"), csv).unwrap();
    let read = tree::read(copy.path()).unwrap();
    store::apply(lab.pool(), &read, "kim").await.unwrap();
    let teller = Who::new("t", &["teller"]);
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "upload").await, Ok(()));
    lab.grant(entry(Sort::RoleGrant, &to_actor("who", "lee", "teller"))).await.unwrap();
    lab.wish(revoke(Sort::AccessRow, "file"), By::Operator, false).await.unwrap();
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "upload").await, Err(Reason::AccessDenied));
    let error = store::apply(lab.pool(), &read, "kim").await.unwrap_err();
    assert!(matches!(error, RegistryError::Overtaken { .. }), "{error}");

    let acts: Vec<(String, Vec<String>, Value)> =
        sqlx::query_as("select kind, people, body from log_outbox order by n")
            .fetch_all(lab.pool())
            .await
            .unwrap();
    let expected = [
        (
            vec!["kim", "lee"],
            json!({ "act": "grant", "entry": "kr-retailer/who", "org": RETAILER,
            "sort": "role_grant", "role": "teller" }),
        ),
        (
            vec!["kim"],
            json!({ "act": "revoke", "entry": "kr-retailer/file", "org": RETAILER,
            "sort": "access_row", "role": "teller", "out": "allow", "services": [MODEL],
            "operations": ["cancel", "upload"] }),
        ),
    ];
    assert_eq!(acts.len(), expected.len());
    for ((kind, people, body), (who, what)) in acts.iter().zip(&expected) {
        assert_eq!(
            (kind.as_str(), people.iter().map(String::as_str).collect::<Vec<_>>()),
            ("access_change", who.clone())
        );
        assert_eq!(body, what);
        assert!(!body.to_string().contains("lee"), "a person's name is a digest in the log");
    }
}
