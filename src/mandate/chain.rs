//! The rules of the game, pure: does a row of the history follow from the one before, and did those sign it who must?
//!
//! | act | who signs | what must hold |
//! |---|---|---|
//! | activate | two different approvers, one of them not a platform administrator | it names what it replaces |
//! | rollback | one approver who is not a platform administrator (any, to end a break-glass early) | it is the bundle that the last activation replaced |
//! | break-glass | one approver, whoever | at most a day; then comes the bundle that two had approved |
//! | fall back | nobody | a break-glass is over |
//!
//! One is enough to go back because the bundle of before was approved by two and was in force, and because what is wrong
//! with a new one must be stopped in minutes; it goes back one step and no further, so nobody alone can choose among old
//! bundles. An administrator alone has the break-glass, which ends by itself.
//!
//! *Invariant:* no row gives force to a bundle that two people did not once approve, but for the time of a break-glass.

use std::fmt;
use std::sync::Arc;

use tlog::{Note, VerifierKey};

use super::note::Act;
use super::{Enacted, How};

/// Somebody whose signature counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// With the person's name as the key's name.
    pub key: VerifierKey,
    pub role: Role,
    /// Versions of the facts at which they were registered and, if so, removed: what comes into force later than the one
    /// and not later than the other may bear their signature.
    pub added_in: i64,
    pub removed_in: Option<i64>,
}

/// What an approver answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs the platform. Two of them do not suffice.
    PlatformAdministrator,
    DataProtection,
    Legal,
    Security,
    /// Speaks for an organisation whose data the bundle is about.
    Organisation,
}

/// How far the history has been followed.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    deployment: Arc<str>,
    last: Option<Link>,
}

#[derive(Debug, Clone)]
struct Link {
    version: i64,
    bundle: Arc<str>,
    how: How,
    /// Where a rollback, or the end of a break-glass, leads.
    back: Option<Arc<str>>,
    sound: bool,
}

impl Chain {
    #[must_use]
    pub fn new(deployment: Arc<str>) -> Self {
        Self { deployment, last: None }
    }

    /// The chain before the first row that must be followed, and the rows from there on: two activations in a row stand on
    /// nothing of before but the name of what the first of them replaced, so a long history need not be followed whole.
    #[must_use]
    pub fn starting(deployment: Arc<str>, rows: &[Enacted]) -> (Self, &[Enacted]) {
        let activates = |row: &Enacted| row.how == How::Activate;
        let start = rows.windows(2).rposition(|pair| pair.iter().all(activates)).unwrap_or(0);
        let before = start.checked_sub(1).and_then(|before| rows.get(before));
        let last = before.map(|row| Link {
            version: row.version,
            bundle: Arc::clone(&row.bundle),
            how: row.how,
            back: None,
            sound: false,
        });
        (Self { deployment, last }, rows.get(start..).unwrap_or_default())
    }

    /// The version of the last row that was followed; 0 before the first.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.last.as_ref().map_or(0, |last| last.version)
    }

    /// The bundle of the last row.
    #[must_use]
    pub fn bundle(&self) -> Option<&Arc<str>> {
        self.last.as_ref().map(|last| &last.bundle)
    }

    /// What a rollback or the end of a break-glass would put in force.
    ///
    /// # Errors
    /// Why there is no going back, and what to do instead.
    pub fn back(&self) -> Result<Arc<str>, String> {
        let back = self.last.as_ref().filter(|last| last.sound).and_then(|last| last.back.clone());
        back.ok_or_else(|| match &self.last {
            Some(last) if matches!(last.how, How::Rollback | How::FallBack) => {
                "this was a step back already: another bundle takes an activation".to_owned()
            }
            _ => "no bundle of the database was in force before: there is nothing to go back to"
                .to_owned(),
        })
    }

    /// What a break-glass that begins now would end in: the bundle that two had approved.
    ///
    /// # Errors
    /// When there is none.
    pub fn approved(&self) -> Result<Arc<str>, String> {
        let Some(last) = self.last.as_ref().filter(|last| last.sound) else {
            return Err("no approved bundle is in force to fall back to: activate one".to_owned());
        };
        if last.how == How::BreakGlass { self.back() } else { Ok(Arc::clone(&last.bundle)) }
    }

    /// Follows the next row at `now` (unix seconds).
    ///
    /// # Errors
    /// Why it does not follow. It counts as the last row all the same: only an activation leads on from it.
    pub fn follow(
        &mut self,
        row: &Enacted,
        approvers: &[Approver],
        now: i64,
    ) -> Result<(), String> {
        let checked = self.check(row, approvers, now);
        let back = match row.how {
            How::Activate => self.approved().ok(),
            How::BreakGlass => row.falls_back_to.clone(),
            How::Rollback | How::FallBack => None,
        };
        self.last = Some(Link {
            version: row.version,
            bundle: Arc::clone(&row.bundle),
            how: row.how,
            back,
            sound: checked.is_ok(),
        });
        checked
    }

    fn check(&self, row: &Enacted, approvers: &[Approver], now: i64) -> Result<(), String> {
        if row.previous.as_ref() != self.bundle() {
            return Err("it does not say what it replaced".to_owned());
        }
        match row.how {
            How::Rollback | How::FallBack if self.back()? != row.bundle => {
                return Err(format!("bundle {} was not in force before", row.bundle));
            }
            How::FallBack if self.last_how() != Some(How::BreakGlass) => {
                return Err("no break-glass was in force".to_owned());
            }
            How::Activate | How::Rollback | How::FallBack => {}
            How::BreakGlass => self.check_span(row, now)?,
        }
        let act = Act::of(row, &self.deployment, self.version());
        let counts = |one: &&Approver| {
            one.added_in < row.version
                && one.removed_in.is_none_or(|removed| row.version <= removed)
        };
        let counting: Vec<&Approver> = approvers.iter().filter(counts).collect();
        let signed = signers(&row.notes, &act.text(), &counting)?;
        self.enough(row.how, &signed)
    }

    fn check_span(&self, row: &Enacted, now: i64) -> Result<(), String> {
        if row.falls_back_to.as_ref() != Some(&self.approved()?) {
            return Err("it does not fall back to the bundle that was approved".to_owned());
        }
        let lasts = row.until_s.map(|until| until.saturating_sub(row.at_s));
        if lasts.is_none_or(|lasts| lasts <= 0 || lasts > BOX_S_MAX) {
            return Err("a break-glass lasts at most a day".to_owned());
        }
        if row.at_s > now.saturating_add(SKEW_S) {
            return Err("it begins later than now".to_owned());
        }
        Ok(())
    }

    /// Whether these may do it.
    ///
    /// # Errors
    /// Who is missing.
    pub fn enough(&self, how: How, signed: &[&Approver]) -> Result<(), String> {
        let ends_a_box = self.last_how() == Some(How::BreakGlass);
        let (persons, independent) = match how {
            How::Activate => (2, true),
            How::Rollback => (1, !ends_a_box),
            How::BreakGlass => (1, false),
            How::FallBack => (0, false),
        };
        if signed.len() < persons {
            let have: Vec<&str> = signed.iter().map(|one| one.key.name()).collect();
            let have = if have.is_empty() { "nobody".to_owned() } else { have.join(", ") };
            return Err(format!(
                "{how} takes {persons} different approvers, and so far it has {have}"
            ));
        }
        let administrators = signed.iter().all(|one| one.role == Role::PlatformAdministrator);
        if independent && administrators {
            return Err(format!(
                "{how} takes an approver who is not a platform administrator, and so far it has none"
            ));
        }
        Ok(())
    }

    fn last_how(&self) -> Option<How> {
        self.last.as_ref().map(|last| last.how)
    }
}

/// Who of these signed the text, each counted once, whatever name or key they come under.
///
/// # Errors
/// When a note is no note, is about something else, or bears a bad signature under a known name.
pub fn signers<'a>(
    notes: &[String],
    text: &str,
    counting: &[&'a Approver],
) -> Result<Vec<&'a Approver>, String> {
    let mut signed: Vec<&Approver> = Vec::new();
    for note in notes {
        let note: Note = note.parse().map_err(|cause| format!("an approval: {cause}"))?;
        if note.text() != text {
            return Err("an approval is for something else".to_owned());
        }
        let verified = note
            .verify(counting.iter().map(|one| &one.key))
            .map_err(|cause| format!("an approval: {cause}"))?;
        for one in verified {
            let Some(who) = counting.iter().find(|who| who.key == *one.key) else { continue };
            let same = |other: &&Approver| {
                other.key.name() == who.key.name() || other.key.public() == who.key.public()
            };
            if !signed.iter().any(same) {
                signed.push(*who);
            }
        }
    }
    Ok(signed)
}

impl Role {
    pub const ALL: [Self; 5] = [
        Self::PlatformAdministrator,
        Self::DataProtection,
        Self::Legal,
        Self::Security,
        Self::Organisation,
    ];

    /// As in the database and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlatformAdministrator => "platform_administrator",
            Self::DataProtection => "data_protection",
            Self::Legal => "legal",
            Self::Security => "security",
            Self::Organisation => "organisation",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A day: whoever needs longer finds a second person meanwhile.
pub const BOX_S_MAX: i64 = 86_400;
/// Between the clocks of who acts and who checks.
const SKEW_S: i64 = 60;

#[cfg(test)]
mod tests {
    use tlog::SigningKey;
    use tlog::key::{Kind, Signer as _};

    use super::*;

    const NOW: i64 = 1_795_132_800;

    struct Person(SigningKey, Role);

    fn person(name: &str, role: Role) -> Person {
        let seed = [u8::try_from(name.len()).unwrap(); 32];
        Person(SigningKey::from_seed(name, Kind::Ed25519, &seed).unwrap(), role)
    }

    /// Names of different lengths, so of different keys.
    fn people() -> [Person; 3] {
        [
            person("kim", Role::PlatformAdministrator),
            person("park", Role::DataProtection),
            person("admin", Role::PlatformAdministrator),
        ]
    }

    fn approvers(people: &[Person]) -> Vec<Approver> {
        let of = |one: &Person| Approver {
            key: one.0.verifier().clone(),
            role: one.1,
            added_in: 0,
            removed_in: None,
        };
        people.iter().map(of).collect()
    }

    fn row(chain: &Chain, version: i64, how: How, bundle: &str, signed: &[&Person]) -> Enacted {
        let boxed = how == How::BreakGlass;
        let mut row = Enacted {
            version,
            bundle: bundle.into(),
            how,
            previous: chain.bundle().cloned(),
            until_s: boxed.then_some(NOW + 600),
            falls_back_to: boxed.then(|| chain.approved().unwrap_or_else(|_| "?".into())),
            reason: "a test".into(),
            notes: Vec::new(),
            by: "kim".into(),
            at_s: NOW,
            rulebook: "r".into(),
            access: "a".into(),
        };
        let act = Act::of(&row, &"here".into(), chain.version());
        row.notes = signed.iter().map(|one| act.sign(&one.0).unwrap()).collect();
        row
    }

    /// Follows rows one after the other; the last one's result.
    fn follow(steps: &[(How, &str, &[&Person])], known: &[Approver]) -> Result<(), String> {
        let mut chain = Chain::new("here".into());
        let mut result = Ok(());
        for (version, (how, bundle, signed)) in (1..).zip(steps) {
            let row = row(&chain, version, *how, bundle, signed);
            result = chain.follow(&row, known, NOW);
        }
        result
    }

    #[test]
    fn who_must_sign_what() {
        use How::{Activate, BreakGlass, FallBack, Rollback};
        let [kim, park, admin] = &people();
        let known = approvers(&people());
        let ok = |steps: &[(How, &str, &[&Person])]| follow(steps, &known).unwrap();
        let no = |steps: &[(How, &str, &[&Person])], why: &str| {
            let said = follow(steps, &known).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        let a: (How, &str, &[&Person]) = (Activate, "A", &[kim, park]);
        let b: (How, &str, &[&Person]) = (Activate, "B", &[park, admin]);
        ok(&[a]);
        ok(&[a, b]);
        no(&[(Activate, "A", &[park])], "takes 2 different approvers, and so far it has park");
        no(&[(Activate, "A", &[park, park])], "so far it has park");
        no(&[(Activate, "A", &[kim, admin])], "who is not a platform administrator");
        no(&[(Activate, "A", &[])], "so far it has nobody");
        ok(&[a, b, (Rollback, "A", &[park])]);
        no(&[a, b, (Rollback, "A", &[kim])], "who is not a platform administrator");
        no(&[a, b, (Rollback, "C", &[park])], "was not in force before");
        no(&[a, (Rollback, "A", &[park])], "nothing to go back to");
        no(&[a, b, (Rollback, "A", &[park]), (Rollback, "B", &[park])], "a step back already");
        ok(&[a, (BreakGlass, "B", &[kim])]);
        no(&[a, (BreakGlass, "B", &[])], "takes 1 different approvers");
        no(&[(BreakGlass, "B", &[kim])], "no approved bundle is in force");
        ok(&[a, (BreakGlass, "B", &[kim]), (FallBack, "A", &[])]);
        no(&[a, (BreakGlass, "B", &[kim]), (FallBack, "C", &[])], "was not in force before");
        no(&[a, b, (FallBack, "A", &[])], "no break-glass was in force");
        // whoever broke the glass may mend it; and it stays what two had approved, however often it is broken
        ok(&[a, (BreakGlass, "B", &[kim]), (Rollback, "A", &[kim])]);
        ok(&[a, (BreakGlass, "B", &[kim]), (BreakGlass, "C", &[admin]), (FallBack, "A", &[])]);
        ok(&[a, (BreakGlass, "B", &[kim]), b, (Rollback, "A", &[park])]);
        // what was wrong stays wrong until two people say what shall be
        let bad: (How, &str, &[&Person]) = (Activate, "X", &[kim]);
        no(&[a, bad, (Rollback, "A", &[park])], "nothing to go back to");
        no(&[a, bad, (BreakGlass, "A", &[park])], "no approved bundle is in force");
        ok(&[a, bad, b]);
    }

    #[test]
    fn a_signature_is_for_one_act_of_one_deployment_by_somebody_who_counts() {
        let all = people();
        let [kim, park, _] = &all;
        let known = approvers(&all);
        let chain = Chain::new("here".into());
        let good = row(&chain, 1, How::Activate, "A", &[kim, park]);
        let check = |row: &Enacted, known: &[Approver], deployment: &str| {
            Chain::new(deployment.into()).follow(row, known, NOW)
        };
        check(&good, &known, "here").unwrap();
        assert!(check(&good, &known, "elsewhere").unwrap_err().contains("something else"));
        let changes: [fn(&mut Enacted); 4] = [
            |row| row.bundle = "B".into(),
            |row| row.rulebook = "s".into(),
            |row| row.access = "b".into(),
            |row| row.reason = "another".into(),
        ];
        for change in changes {
            let mut row = good.clone();
            change(&mut row);
            assert!(check(&row, &known, "here").unwrap_err().contains("something else"));
        }
        // the same signatures once more, after the bundle was in force and was replaced
        let mut chain = Chain::new("here".into());
        chain.follow(&good, &known, NOW).unwrap();
        let other = row(&chain, 2, How::Activate, "B", &[kim, park]);
        chain.follow(&other, &known, NOW).unwrap();
        let again = Enacted { version: 3, previous: Some("B".into()), ..good.clone() };
        assert!(chain.follow(&again, &known, NOW).unwrap_err().contains("something else"));
        // removed before, or registered only afterwards
        let mut gone = known.clone();
        gone[1].removed_in = Some(0);
        assert!(check(&good, &gone, "here").unwrap_err().contains("not signed by a trusted key"));
        gone[1].removed_in = Some(1);
        check(&good, &gone, "here").unwrap();
        let mut late = known;
        late[1].added_in = 1;
        assert!(check(&good, &late, "here").unwrap_err().contains("not signed by a trusted key"));
    }

    #[test]
    fn a_long_history_comes_to_the_same_from_two_activations_on() {
        use How::{Activate, Rollback};
        let all = people();
        let [kim, park, _] = &all;
        let known = approvers(&all);
        let steps: [(How, &str, &[&Person]); 6] = [
            (Activate, "A", &[kim]), // without a mandate
            (Activate, "B", &[kim, park]),
            (Rollback, "A", &[park]), // there is no going back to that
            (Activate, "C", &[kim, park]),
            (Activate, "D", &[kim, park]),
            (Rollback, "C", &[park]),
        ];
        let (mut whole, mut rows) = (Chain::new("here".into()), Vec::new());
        // From the last two activations in a row: A and B until D follows C.
        let followed = [1, 2, 3, 4, 2, 3];
        for ((version, (how, bundle, signed)), expected) in (1..).zip(&steps).zip(followed) {
            rows.push(row(&whole, version, *how, bundle, signed));
            let _ = whole.follow(&rows[rows.len() - 1], &known, NOW);
            let (mut short, rest) = Chain::starting("here".into(), &rows);
            for row in rest {
                let _ = short.follow(row, &known, NOW);
            }
            let state = |chain: &Chain| {
                (chain.version(), chain.bundle().cloned(), chain.back(), chain.approved())
            };
            assert_eq!(state(&short), state(&whole), "after {version}");
            assert_eq!(rest.len(), expected, "after {version}");
        }
    }

    #[test]
    fn one_person_with_two_names_is_one() {
        let (kim, park) = (person("kim", Role::Legal), person("park", Role::Legal));
        let twin = SigningKey::from_seed("kim2", Kind::Ed25519, &[3; 32]).unwrap();
        assert_eq!(twin.verifier().public(), kim.0.verifier().public());
        let twin = Person(twin, Role::Legal);
        let row = row(&Chain::new("here".into()), 1, How::Activate, "A", &[&kim, &twin]);
        let known = approvers(&[kim, twin, park]);
        let said = Chain::new("here".into()).follow(&row, &known, NOW).unwrap_err();
        assert!(said.contains("so far it has kim"), "{said}");
    }

    #[test]
    fn a_break_glass_lasts_a_day_at_most_and_begins_now() {
        let all = people();
        let [kim, park, _] = &all;
        let known = approvers(&all);
        let mut chain = Chain::new("here".into());
        chain.follow(&row(&chain, 1, How::Activate, "A", &[kim, park]), &known, NOW).unwrap();
        for (from, until, why) in [
            (NOW, NOW + BOX_S_MAX, None),
            (NOW, NOW + BOX_S_MAX + 1, Some("at most a day")),
            (NOW, NOW, Some("at most a day")),
            (NOW + 3_600, NOW + 7_200, Some("later than now")),
        ] {
            let mut row = row(&chain, 2, How::BreakGlass, "B", &[]);
            (row.at_s, row.until_s) = (from, Some(until));
            row.notes = vec![Act::of(&row, &"here".into(), 1).sign(&kim.0).unwrap()];
            let said = chain.clone().follow(&row, &known, NOW);
            match why {
                None => said.unwrap(),
                Some(why) => assert!(said.unwrap_err().contains(why)),
            }
        }
    }
}
